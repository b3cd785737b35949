/*
 * The tests of the module system: every embedded module's result, and the life of a module from load to unload.
 * They need nothing of the machine, so the host runs them too (firmware/user).
 */
#include "defs.h"

static const struct {
    const char *module;
    const char *title;
    uint32_t calls;
} module_tests[] = {
    {"sum", "Simple Sum Module", 1},
    {"fibonacci", "Fibonacci Module", 1},
    {"compute", "Compute Module", 10},
    {"primes", "Prime Counting Module", 1},
    {"fft_1d", "FFT Module", 1},
    {"sha256", "SHA-256 Module", 1},
    {"matrix_mul", "Matrix Multiplication Module", 5},
    {"quicksort", "Quicksort Module", 1},
    {"strops", "String Operations Module", 1},
    {"regex_dfa", "Pattern Matching Module", 1},
    {"gemm_tile", "Tiled GEMM Module", 1},
    {"physics_step", "Physics Module", 1},
#ifdef BENCH
    {"bench_memory", "Memory Bandwidth Benchmark", 10},
    {"bench_cache", "Cache Benchmark", 10},
    {"bench_branch", "Branch Prediction Benchmark", 10},
#endif
};

static const struct embedded_module *find_embedded(const char *name) {
    for (uint32_t i = 0; i < embedded_module_count; i++)
        if (strcmp(embedded_modules[i].name, name) == 0)
            return &embedded_modules[i];
    return NULL;
}

void module_load_embedded(void) {
    kprintf("[INIT] Loading embedded modules...\n");
    module_init();
    for (uint32_t i = 0; i < embedded_module_count; i++)
        module_load(embedded_modules[i].image[0], embedded_modules[i].image_size[0], 0, BF_REASON_EMBEDDED);
    kprintf("[OK] Loaded %u modules\n", module_manager.num_modules);
}

/* Returns how many modules gave a wrong result, or were not there. */
uint32_t module_test_results(void) {
    uint32_t failed = 0;

    for (uint32_t i = 0; i < sizeof module_tests / sizeof module_tests[0]; i++) {
        const struct embedded_module *source = find_embedded(module_tests[i].module);
        uint32_t module = module_find(module_tests[i].module);
        kprintf("\n[TEST %u] %s\n", i + 1, module_tests[i].title);
        if (source == NULL || module == NO_MODULE) {
            kprintf("  [FAIL] The module is not loaded\n");
            failed++;
            continue;
        }
        int32_t result = 0;
        for (uint32_t call = 0; call < module_tests[i].calls; call++)
            result = module_execute(module, source->arguments[0], source->arguments[1]);
        kprintf("  Result: %d (expected: %d)\n", result, source->expected);
        kprintf(result == source->expected ? "  [OK] Test passed!\n" : "  [FAIL] Test failed!\n");
        failed += result != source->expected;
    }
    module_print_stats();
    return failed;
}

/* A version-1 image as stock tools make them: code_size 0, the code is the rest of the file. */
struct probe {
    module_header_t header;
    uint8_t code[16];
};

static const uint8_t returns_42[16] = {0x55, 0x89, 0xE5, 0xB8, 42, 0, 0, 0, 0x5D, 0xC3};
/* MOV EAX, [0x1234]: it was linked at 0. */
static const uint8_t refers_to_0x1234[16] = {0x55, 0x89, 0xE5, 0x8B, 0x05, 0x34, 0x12, 0, 0, 0x5D, 0xC3};

static void make_probe(struct probe *probe, const uint8_t code[16], uint8_t value) {
    *probe = (struct probe){.header = {.magic = MODULE_MAGIC, .name = "probe", .entry_point = 0x30, .version = 1}};
    memcpy(probe->code, code, sizeof probe->code);
    if (value != 0)
        probe->code[4] = value;
}

static uint32_t step;
static uint32_t wrong_steps;

static void check(const char *what, bool right) {
    kprintf("[MODULE-TEST] %u: %s: %s\n", ++step, what, right ? "passed" : "FAILED");
    wrong_steps += !right;
}

static struct probe first, second, damaged;
static int32_t tried_inside;

/* Called by a module while it runs. */
static int32_t unload_from_inside(int32_t module, int32_t unused) {
    (void)unused;
    tried_inside = module_unload((uint32_t)module) ||
                   module_install_override((uint32_t)module, &second, sizeof second, 1, BF_REASON_EMBEDDED);
    return tried_inside;
}

/* JMP to `target` through EAX. */
static void make_trampoline(struct probe *probe, bf_ptr target) {
    make_probe(probe, returns_42, 0);
    memset(probe->code, 0x90, sizeof probe->code);
    probe->code[0] = 0xB8;
    memcpy(&probe->code[1], &target, sizeof target);
    probe->code[5] = 0xFF;
    probe->code[6] = 0xE0;
}

/* A module with read-only data, data and symbols under another name, signed anew. NO_MODULE = it was refused. */
static uint32_t load_twin(const struct embedded_module *source) {
    static uint8_t twin[4096] __attribute__((aligned(16)));
    uint32_t size = source->image_size[0];
    module_header_t *header = (module_header_t *)twin;

    if (size > sizeof twin)
        return NO_MODULE;
    memcpy(twin, source->image[0], size);
    strncpy(header->name, "twin", sizeof header->name);
    check("a module that was changed after it was signed is refused",
          module_load(twin, size, 0, BF_REASON_EMBEDDED) == NO_MODULE);
    sha256(twin, size - 32, twin + size - 32);
    return module_load(twin, size, 0, BF_REASON_EMBEDDED);
}

/* The life of a module, with all refusals; returns how many steps went wrong. The pools are as before afterwards. */
uint32_t module_test_life(void) {
    uint32_t code = g_pools[BF_POOL_CODE].stats.used;
    uint32_t data = g_pools[BF_POOL_DATA].stats.used;
    uint32_t metadata = g_pools[BF_POOL_METADATA].stats.used;
    uint32_t modules = module_manager.num_modules;

    step = 0;
    wrong_steps = 0;
    make_probe(&first, returns_42, 42);
    make_probe(&second, returns_42, 43);
    uint32_t probe = module_load_versioned(&first, sizeof first, 0, BF_REASON_EMBEDDED);
    check("a position-independent image of version 1 is loaded",
          probe != NO_MODULE && module_execute(probe, 0, 0) == 42);
    if (probe == NO_MODULE)
        return wrong_steps;
    check("a second load is refused", module_load(&first, sizeof first, 0, BF_REASON_EMBEDDED) == NO_MODULE);
    check("another level replaces it", module_load_versioned(&second, sizeof second, 1, BF_REASON_EMBEDDED) == probe &&
                                           module_execute(probe, 0, 0) == 43);
    check("the same level is refused",
          module_load_versioned(&first, sizeof first, 1, BF_REASON_EMBEDDED) == NO_MODULE);
    check("an override takes its place", module_install_override(probe, &first, sizeof first, 0, BF_REASON_EMBEDDED) &&
                                             module_execute(probe, 0, 0) == 42);

    damaged = first;
    damaged.header.magic = BITCODE_MAGIC;
    check("a wrong magic is refused", !module_install_override(probe, &damaged, sizeof damaged, 1, BF_REASON_EMBEDDED));
    damaged = first;
    damaged.header.code_size = sizeof damaged;
    check("code that does not fit the file is refused",
          !module_install_override(probe, &damaged, sizeof damaged, 1, BF_REASON_EMBEDDED));
    damaged = first;
    damaged.header.name[0] = 'X';
    check("another module's code is refused",
          !module_install_override(probe, &damaged, sizeof damaged, 1, BF_REASON_EMBEDDED));
    make_probe(&damaged, refers_to_0x1234, 0);
    check("version 1 with an absolute reference is refused",
          !module_install_override(probe, &damaged, sizeof damaged, 1, BF_REASON_EMBEDDED));
    check("refusals changed nothing", module_execute(probe, 0, 0) == 42);

    make_trampoline(&damaged, (bf_ptr)unload_from_inside);
    tried_inside = -1;
    check("a running module is neither unloaded nor replaced",
          module_install_override(probe, &damaged, sizeof damaged, 2, BF_REASON_EMBEDDED) &&
              module_execute(probe, (int32_t)probe, 0) == 0 && tried_inside == 0);
    check("a module is unloaded", module_unload(probe) && module_find("probe") == NO_MODULE);
    check("it cannot be unloaded twice", !module_unload(probe));
    const struct embedded_module *source = find_embedded("fft_1d");
    uint32_t twin = source == NULL ? NO_MODULE : load_twin(source);
    check("a module takes the place of one that was unloaded", twin == probe);
    check("a module with data of its own is unloaded",
          twin != NO_MODULE && module_images[twin].data != 0 && module_images[twin].rodata != 0 &&
              module_execute(twin, source->arguments[0], source->arguments[1]) == source->expected &&
              module_unload(twin));
    check("its blocks and its place are free again",
          g_pools[BF_POOL_CODE].stats.used == code && g_pools[BF_POOL_DATA].stats.used == data &&
              g_pools[BF_POOL_METADATA].stats.used == metadata && module_manager.num_modules == modules);
    if (bareflow_status.function_count != 0)
        check("a module with a published version is not unloaded", !module_unload(function_table[0].module));
    kprintf("[MODULE-TEST] %u of %u passed\n", step - wrong_steps, step);
    return wrong_steps;
}
