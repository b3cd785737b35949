/*
 * The adaptive JIT of stock kernels: functions are called through a pointer, counted, and get better code at 100,
 * 1,000 and 10,000 calls. The code comes from position-independent variants made at build time; each is copied
 * behind the one before it in the function's own buffer, so that no live code is ever overwritten.
 */
#include "stock.h"

#define LEVELS 4
#define CODE_CAPACITY 8192
#define CODE_ALIGNMENT 16

static const uint64_t thresholds[LEVELS] = {0, 100, 1000, 10000};

/* images.S: one row per level above O0. */
extern const module_image_t jit_variants[][LEVELS - 1];
extern const uint32_t jit_variant_count;

void adaptive_jit_init(adaptive_jit_t *jit) {
    memset(jit, 0, sizeof *jit);
    jit->enabled = 1;
    jit->profiler.jit_enabled = 1;
    serial_printf("[ADAPTIVE-JIT] Initialized\n");
}

static char *copy_name(const char *name) {
    char *copy = jit_alloc_metadata(strlen(name) + 1);
    return copy == NULL ? NULL : strcpy(copy, name);
}

int adaptive_jit_register_function(adaptive_jit_t *jit, const char *name, const char *module_name, void *code) {
    if (jit->function_count == MAX_JIT_FUNCTIONS)
        return -1;
    uint8_t *buffer = jit_alloc_code(CODE_CAPACITY);
    const char *kept_name = copy_name(name);
    const char *kept_module = copy_name(module_name);
    if (buffer == NULL || kept_name == NULL || kept_module == NULL)
        return -1;
    int id = profiler_register(&jit->profiler, kept_name, kept_module, code);
    if (id < 0)
        return -1;
    jit->functions[jit->function_count] = (jit_function_entry_t){
        .profiler_id = (uint32_t)id,
        .code_v0 = code,
        .current_code = code,
        .jit_ctx = {.code_buffer = buffer, .code_capacity = CODE_CAPACITY, .allocator = g_pools},
        .is_active = 1,
    };
    return (int)jit->function_count++;
}

/* Inlined in every stock build. */
static inline __attribute__((always_inline)) void adaptive_jit_swap_code(jit_function_entry_t *entry, void *new_code,
                                                                         uint32_t level) {
    __atomic_store_n(&entry->current_code, new_code, __ATOMIC_RELEASE);
    entry->compiled_level = level;
}

static const module_image_t *find_variant(const char *name, uint32_t level) {
    for (uint32_t i = 0; i < jit_variant_count; i++)
        if (strcmp(jit_variants[i][level - 1].header->name, name) == 0)
            return &jit_variants[i][level - 1];
    return NULL;
}

/* The variant's code behind what is in the buffer already; NULL when there is none or no room. */
static void *emit(jit_context_t *context, const char *name, uint32_t level) {
    const module_image_t *variant = find_variant(name, level);
    uint32_t at = (context->code_size + CODE_ALIGNMENT - 1) & ~(CODE_ALIGNMENT - 1u);

    if (variant == NULL || variant->size - sizeof(module_header_t) > context->code_capacity - at)
        return NULL;
    uint32_t size = variant->size - (uint32_t)sizeof(module_header_t);
    context->code_size = at + size;
    return memcpy(context->code_buffer + at, variant->header + 1, size);
}

static __attribute__((noinline)) void recompile(jit_function_entry_t *entry, function_profile_t *profile,
                                                uint32_t level) {
    void **const slots[LEVELS] = {&entry->code_v0, &entry->code_v1, &entry->code_v2, &entry->code_v3};
    void *code = emit(&entry->jit_ctx, profile->module_name, level);

    if (code == NULL) {
        serial_printf("[RECOMPILE] %s: no O%u code\n", profile->name, level);
        entry->is_active = 0;
        return;
    }
    serial_printf("[RECOMPILE] %s: O%u -> O%u\n", profile->name, entry->compiled_level, level);
    *slots[level] = code;
    adaptive_jit_swap_code(entry, code, level);
    profile->address = code;
    profile->opt_level = level;
    profile->needs_recompile = false;
    serial_printf("[ATOMIC-SWAP] Code pointer updated to O%u\n", level);
}

int32_t adaptive_jit_execute(adaptive_jit_t *jit, int function, int32_t a, int32_t b) {
    jit_function_entry_t *entry = &jit->functions[function];
    function_profile_t *profile = &jit->profiler.functions[entry->profiler_id];
    jit_code_t code = (jit_code_t)__atomic_load_n(&entry->current_code, __ATOMIC_ACQUIRE);
    uint64_t start = rdtsc();
    int32_t result = code(a, b);

    profiler_record_call(&jit->profiler, entry->profiler_id, rdtsc() - start);
    uint32_t wanted = entry->compiled_level + 1;
    if (jit->enabled && entry->is_active && wanted < LEVELS && profile->call_count >= thresholds[wanted]) {
        profile->is_hot = true;
        profile->needs_recompile = true;
        recompile(entry, profile, wanted);
    }
    return result;
}
