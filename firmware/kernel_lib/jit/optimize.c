/* Which code of a function runs: asked for by level, published by one aligned store. */
#include "slots.h"

/* There when the image has the debug interface; its thresholds may be set before the run. */
extern struct bf_root bareflow_root __attribute__((weak));
static const uint32_t default_thresholds[BF_LEVELS - 1] = {100, 1000, 10000};

static struct optimized {
    const char *name;
    bool has[BF_LEVELS];        /* code of this level */
    uint32_t asked;
} functions[MAX_JIT_PROFILE_ENTRIES];
static uint32_t function_count;

static uint32_t find(const char *name) {
    for (uint32_t i = 0; i < function_count; i++)
        if (strcmp(functions[i].name, name) == 0)
            return i;
    return JIT_NO_FUNCTION;
}

uint32_t jit_optimize_add(const struct jit_source *source) {
    uint32_t number = function_count;

    if (source->code[0] == NULL || find(source->name) != JIT_NO_FUNCTION || number == MAX_JIT_PROFILE_ENTRIES ||
        !slot_fill(number, source))
        return JIT_NO_FUNCTION;
    functions[number].name = source->name;
    for (uint32_t level = 0; level < BF_LEVELS; level++)
        functions[number].has[level] = source->code[level] != NULL;
    function_count++;
    return number;
}

bool jit_optimize_register(const char *name, const jit_function_t code[BF_LEVELS]) {
    struct jit_source source = {.name = name};

    memcpy(source.code, code, sizeof source.code);
    return jit_optimize_add(&source) != JIT_NO_FUNCTION;
}

bool jit_optimize_request(const jit_profile_t *profile, const char *name, uint32_t level) {
    uint32_t function = find(name);
    if (function == JIT_NO_FUNCTION || level >= BF_LEVELS || jit_profile_find(profile, name) == NULL)
        return false;
    functions[function].asked = level;
    while (!functions[function].has[level])
        level--;
    uint32_t before = slot_level(function);
    if (level != before && slot_publish(function, level))
        kprintf("[JIT] %s: O%u -> O%u\n", name, before, level);
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
    uint32_t function = find(name);
    return function == JIT_NO_FUNCTION ? BF_LEVELS : functions[function].asked;
}

uint32_t jit_optimize_level(const char *name) {
    uint32_t function = find(name);
    return function == JIT_NO_FUNCTION ? BF_LEVELS : slot_level(function);
}

jit_function_t jit_optimize_code(const char *name) {
    uint32_t function = find(name);
    return function == JIT_NO_FUNCTION ? NULL : slot_code(function);
}
