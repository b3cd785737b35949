/* The function profiler: what each function cost. It is the first part of the adaptive JIT's record. */
#include "stock.h"

int profiler_register(function_profiler_t *profiler, const char *name, const char *module_name, void *address) {
    if (profiler->function_count == MAX_PROFILED_FUNCTIONS)
        return -1;
    profiler->functions[profiler->function_count] = (function_profile_t){
        .name = name,
        .module_name = module_name,
        .address = address,
        .min_cycles = UINT64_MAX,
    };
    return (int)profiler->function_count++;
}

void profiler_record_call(function_profiler_t *profiler, uint32_t id, uint64_t cycles) {
    function_profile_t *profile = &profiler->functions[id];

    profile->call_count++;
    profile->total_cycles += cycles;
    if (cycles < profile->min_cycles)
        profile->min_cycles = cycles;
    if (cycles > profile->max_cycles)
        profile->max_cycles = cycles;
    profiler->total_calls++;
}
