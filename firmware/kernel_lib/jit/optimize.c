/* Which code of a function runs: asked for by level, published by one aligned store. */
#include "jit_runtime.h"

/* There when the image has the debug interface; its thresholds may be set before the run. */
extern struct bf_root bareflow_root __attribute__((weak));
static const uint32_t default_thresholds[BF_LEVELS - 1] = {100, 1000, 10000};

static struct optimized {
    const char *name;
    jit_function_t code[BF_LEVELS];
    jit_function_t current;
    uint32_t level;
    uint32_t asked;
} functions[MAX_JIT_PROFILE_ENTRIES];
static uint32_t function_count;

static struct optimized *find(const char *name) {
    for (uint32_t i = 0; i < function_count; i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

bool jit_optimize_register(const char *name, const jit_function_t code[BF_LEVELS]) {
    if (code[0] == NULL || find(name) != NULL || function_count == MAX_JIT_PROFILE_ENTRIES)
        return false;
    struct optimized *function = &functions[function_count++];
    function->name = name;
    memcpy(function->code, code, sizeof function->code);
    function->current = code[0];
    return true;
}

bool jit_optimize_request(const jit_profile_t *profile, const char *name, uint32_t level) {
    struct optimized *function = find(name);
    if (function == NULL || level >= BF_LEVELS || jit_profile_find(profile, name) == NULL)
        return false;
    function->asked = level;
    while (function->code[level] == NULL)
        level--;
    if (level != function->level) {
        kprintf("[JIT] %s: O%u -> O%u\n", name, function->level, level);
        __atomic_store_n(&function->current, function->code[level], __ATOMIC_RELEASE);
        function->level = level;
    }
    return true;
}

static uint32_t deserved_level(uint64_t calls) {
    const volatile uint32_t *thresholds = &bareflow_root ? bareflow_root.thresholds : default_thresholds;
    uint32_t level = 0;
    while (level + 1 < BF_LEVELS && calls >= thresholds[level])
        level++;
    return level;
}

uint32_t jit_optimize_all(const jit_profile_t *profile) {
    uint32_t requests = 0;
    for (uint32_t i = 0; i < function_count; i++) {
        const jit_profile_entry_t *entry = jit_profile_find(profile, functions[i].name);
        uint32_t level = entry == NULL ? 0 : deserved_level(entry->call_count);
        if (level > functions[i].asked && jit_optimize_request(profile, functions[i].name, level))
            requests++;
    }
    return requests;
}

uint32_t jit_optimize_asked(const char *name) {
    const struct optimized *function = find(name);
    return function == NULL ? BF_LEVELS : function->asked;
}

uint32_t jit_optimize_level(const char *name) {
    const struct optimized *function = find(name);
    return function == NULL ? BF_LEVELS : function->level;
}

jit_function_t jit_optimize_code(const char *name) {
    struct optimized *function = find(name);
    return function == NULL ? NULL : __atomic_load_n(&function->current, __ATOMIC_ACQUIRE);
}
