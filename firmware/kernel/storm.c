/*
 * A storm of swaps: every function is given another tier again and again while all of them run, and each result is
 * compared with the right one. The log is silent meanwhile, for it would be most of the work.
 */
#include "defs.h"

#define SWAPS 100000u
#define TELL_EVERY 10000u

static struct {
    uint32_t calls;
    uint32_t wrong;
} storm;

static void call(uint32_t function) {
    const struct bf_function *record = &function_table[function];

    storm.calls++;
    storm.wrong += adaptive_jit_call(function, record->arguments[0], record->arguments[1]) != record->expected;
}

/* The next tier that the guest has itself; False when there is none, or no room. */
static bool swap(uint32_t function) {
    uint32_t level = function_table[function].level;

    for (uint32_t step = 1; step < BF_LEVELS; step++)
        if (adaptive_jit_force(function, (level + step) % BF_LEVELS))
            return true;
    return false;
}

void swap_storm(void) {
    uint32_t wanted = SETTING(run_calls) != 0 ? SETTING(run_calls) : SWAPS;
    uint32_t functions = bareflow_status.function_count;
    uint32_t before = bareflow_status.swap_count;
    uint32_t swaps = 0, failed = 0, told = TELL_EVERY;

    SETTING(thresholds[0]) = UINT32_MAX;    /* nothing else asks for code */
    for (uint32_t turn = 0; swaps < wanted && failed < functions && !SETTING(scenario_stop); turn++) {
        uint32_t function = turn % functions;
        log_silent = true;
        failed = swap(function) ? 0 : failed + 1;
        call(function);
        call(turn * 7 % functions);         /* 7: not the one beside it, and each in its turn */
        log_silent = false;
        swaps = bareflow_status.swap_count - before;
        if (swaps >= told) {
            kprintf("[STORM] %u swaps, %u calls, %u wrong\n", swaps, storm.calls, storm.wrong);
            told += TELL_EVERY;
        }
    }
    bareflow_status.bench_iterations = storm.calls;
    bareflow_status.bench_emitted = swaps;
    bareflow_status.bench_result = storm.wrong;
    kprintf("[STORM] %u swaps, %u calls, %u wrong  %s\n", swaps, storm.calls, storm.wrong,
            storm.wrong == 0 && (swaps >= wanted || SETTING(scenario_stop)) ? "[OK]" : "[FAILED]");
}
