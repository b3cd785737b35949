/* The function profiler: what each function cost, and which are hot. Part of the adaptive JIT's record. */
#include "defs.h"

function_profiler_t *const function_profiler = &adaptive_jit.profiler;

uint32_t profiler_register(const char *name, const char *module_name, uint32_t address) {
    uint32_t id = function_profiler->function_count;

    if (id == MAX_PROFILED_FUNCTIONS)
        return NO_FUNCTION;
    function_profiler->functions[id] = (function_profile_t){
        .name = (uint32_t)name,
        .module_name = (uint32_t)module_name,
        .address = address,
        .min_cycles = UINT64_MAX,
    };
    function_profiler->function_count++;
    return id;
}

/* The ids of the hot functions, those with most cycles first; returns how many there are in `ids`. */
uint32_t profiler_hot_list(uint32_t *ids, uint32_t capacity) {
    uint32_t count = 0;

    for (uint32_t id = 0; id < function_profiler->function_count; id++) {
        const function_profile_t *profile = &function_profiler->functions[id];
        if (!profile->is_hot)
            continue;
        uint32_t at = count < capacity ? count++ : count;
        while (at > 0 && function_profiler->functions[ids[at - 1]].total_cycles < profile->total_cycles) {
            if (at < capacity)
                ids[at] = ids[at - 1];
            at--;
        }
        if (at < capacity)
            ids[at] = id;
    }
    return count;
}

void profiler_print(void) {
    uint32_t hot[MAX_PROFILED_FUNCTIONS];
    uint32_t count = profiler_hot_list(hot, MAX_PROFILED_FUNCTIONS);

    kprintf("\nFUNCTION PROFILER: %u functions, %llu calls, %u hot\n", function_profiler->function_count,
            function_profiler->total_calls, count);
    for (uint32_t i = 0; i < count; i++) {
        const function_profile_t *profile = &function_profiler->functions[hot[i]];
        kprintf("  %s: O%u calls=%llu total=%llu avg=%llu min=%llu max=%llu\n", (const char *)profile->name,
                profile->opt_level, profile->call_count, profile->total_cycles,
                profile->total_cycles / profile->call_count, profile->min_cycles, profile->max_cycles);
    }
}
