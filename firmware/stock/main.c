/*
 * The stock kernel from its first C function to its last halt. The big records are locals here: no symbol names
 * them, they lie on the stack just below 0x90000.
 */
#include "stock.h"

#define SLAVE 1
#define FIRST_REPORT 150
#ifdef FIELD_JIT
#define CALLS FIRST_REPORT
#else
#define CALLS 10001
#endif

_Noreturn void kernel_main(void);

/* stock.mk defines MODULE_NAME for each module as its two arguments and the result for them. */
static const struct test {
    const char *module;
    const char *title;
    int32_t a, b;
    int32_t expected;
    uint32_t calls;
} tests[] = {
    {"sum", "Simple Sum Module", MODULE_sum, 1},
    {"fibonacci", "Fibonacci Module", MODULE_fibonacci, 1},
    {"compute", "Compute Module", MODULE_compute, 10},
    {"primes", "Prime Counting Module", MODULE_primes, 1},
    {"matrix_mul", "Matrix Module from Disk", MODULE_matrix_mul, 5},
    {"gemm_tile", "Tiled GEMM Module from Disk", MODULE_gemm_tile, 1},
};
#define TESTS (sizeof tests / sizeof tests[0])

/* What the adaptive JIT is given: three functions, for three buffers of 8 KB fit into the CODE pool. */
#ifdef FIELD_JIT
static const struct test *const hot[] = {&tests[1]};
#else
static const struct test *const hot[] = {&tests[1], &tests[0], &tests[2]};
#endif
#define HOT (sizeof hot / sizeof hot[0])

static void load_modules(module_manager_t *manager) {
    terminal_printf("DYNAMIC MODULE SYSTEM - LLVM AOT\n[INIT] Loading embedded modules...\n");
    module_init(manager);
#ifdef FIELD_MODULES
    field_load_modules(manager);
#else
    for (uint32_t i = 0; i < embedded_module_count; i++)
        module_load(manager, embedded_modules[i].header, embedded_modules[i].size);
    cache_load_modules(manager);
#endif
}

static void load_disk(module_manager_t *manager, fat16_fs_t *fs) {
    terminal_printf("[DISK] Attempting to load modules from FAT16...\n");
    if (fat16_init(fs, SLAVE))
        terminal_printf("[DISK] Loaded %u modules\n", disk_load_all_modules(manager, fs));
    else
        terminal_printf("[DISK] Using embedded modules\n");
}

static void test_modules(module_manager_t *manager) {
    for (uint32_t i = 0; i < TESTS; i++) {
        int module = module_find(manager, tests[i].module);
        int32_t result = 0;
        if (module < 0)
            continue;               /* without a disk there are only the embedded ones */
        terminal_printf("[TEST %u] %s\n", i + 1, tests[i].title);
        for (uint32_t call = 0; call < tests[i].calls; call++)
            result = module_execute(manager, module, tests[i].a, tests[i].b);
        terminal_printf("  Result: %d (expected: %d)\n", result, tests[i].expected);
        terminal_printf(result == tests[i].expected ? "  [OK] Test passed!\n" : "  [FAIL] Test failed!\n");
    }
}

static void print_statistics(const adaptive_jit_t *jit, int function) {
    const jit_function_entry_t *entry = &jit->functions[function];

    serial_printf("=== PROFILING STATISTICS ===\n");
    serial_printf("Total calls: %llu\n", jit->profiler.functions[entry->profiler_id].call_count);
    serial_printf("Final optimization level: O%u\n", entry->compiled_level);
    serial_printf("Recompilations triggered: %u", entry->compiled_level);
    for (uint32_t level = 0; entry->compiled_level > 0 && level <= entry->compiled_level; level++)
        serial_printf("%sO%u", level == 0 ? " (" : "->", level);
    serial_printf(entry->compiled_level > 0 ? ")\n" : "\n");
}

/* The first function is told of call by call; a wrong result is told of any. */
static void run(adaptive_jit_t *jit, int function, const struct test *test) {
    bool told = function == 0;
    uint32_t level = jit->functions[function].compiled_level;

    if (told)
        serial_printf("[Call 1] Initial execution at O%u\n", level);
    for (uint32_t n = 1; n <= CALLS; n++) {
        uint32_t now = jit->functions[function].compiled_level;
        if (told && now != level)
            serial_printf("[Call %u] Now running at O%u\n", n, now);
        level = now;
        int32_t result = adaptive_jit_execute(jit, function, test->a, test->b);
        if (result != test->expected)
            serial_printf("[ERROR] %s: %d (expected: %d)\n", test->module, result, test->expected);
        now = jit->functions[function].compiled_level;
        if (told && now != level)
            serial_printf("[Call %u] Threshold reached - recompiling to O%u...\n", n, now);
        if (told && (n == FIRST_REPORT || n == CALLS))
            print_statistics(jit, function);
    }
}

/* Inlined for kernels that halt in the middle of their main function: no symbol tells where. */
static inline __attribute__((always_inline)) _Noreturn void halt(void) {
#ifdef FIELD_NO_IDT
    for (;;)
        __asm__ volatile("cli; hlt");
#else
    cpu_halt();
#endif
}

static void run_adaptive(adaptive_jit_t *jit, const module_manager_t *manager) {
    adaptive_jit_init(jit);
    for (uint32_t i = 0; i < HOT; i++) {
        int module = module_find(manager, hot[i]->module);
        int function = adaptive_jit_register_function(jit, hot[i]->module, hot[i]->module,
                                                      module < 0 ? NULL : manager->modules[module].code_ptr);
        if (function == 0)
            serial_printf("[ADAPTIVE-JIT] Registered: %s\n", hot[i]->module);
        else if (function < 0)
            serial_printf("[ADAPTIVE-JIT] Not registered: %s\n", hot[i]->module);
    }
    wait_for_key("the adaptive run");
    for (uint32_t function = 0; function < jit->function_count; function++)
        run(jit, (int)function, hot[function]);
}

static inline __attribute__((always_inline)) void run_modules(module_manager_t *manager, fat16_fs_t *fs) {
    load_modules(manager);
    load_disk(manager, fs);
    bitcode_list();
    wait_for_key("the module tests");
    test_modules(manager);
    wait_for_key("the module statistics");
    module_print_stats(manager);
}

_Noreturn void kernel_main(void) {
    adaptive_jit_t jit;
    module_manager_t manager;
    fat16_fs_t fs;

    serial_init();
    serial_writestring("[serial] init ok\n");
    terminal_initialize();
#ifndef FIELD_NO_IDT
    idt_init();
    pic_init();
#endif
    cpu_init_x87();
    jit_allocator_init();
#ifdef FIELD_TURNED
    module_init(&manager);
    run_adaptive(&jit, &manager);
    run_modules(&manager, &fs);
#else
    run_modules(&manager, &fs);
    run_adaptive(&jit, &manager);
#endif
    module_export_profile(&manager);
#ifdef FIELD_JIT
    adaptive_jit_destroy(&jit);
#endif
#ifdef FIELD_POOLS
    jit_allocator_shutdown();
#endif
    terminal_printf("\nSystem halted.\n");
    halt();
}
