/*
 * All functions at work, each result compared with the right one: until the host ends it, or in a storm of swaps, in
 * which each is given another tier again and again, as a host orders it. In the storm the log is silent, for it would be
 * most of the work.
 */
#include "defs.h"

#define SWAPS 100000u

static void swap(uint32_t function) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];

    slot->control_argument = (function_table[function].level + 1) % BF_LEVELS;
    slot->control = BF_CONTROL_FORCE;
    mail_header->doorbell = 1;      /* the next call looks */
}

static void call(uint32_t function) {
    const struct bf_function *record = &function_table[function];

    bareflow_status.bench_iterations++;
    if (adaptive_jit_call(function, record->arguments[0], record->arguments[1]) != record->expected)
        bareflow_status.bench_result++;
}

static void tell_calls(void) {
    kprintf("%u calls, %u wrong  %s\n", bareflow_status.bench_iterations, bareflow_status.bench_result,
            bareflow_status.bench_result == 0 ? "[OK]" : "[FAILED]");
}

void calls_until_stopped(void) {
    while (!SETTING(scenario_stop) && bareflow_status.function_count != 0)
        for (uint32_t function = 0; function < bareflow_status.function_count; function++)
            call(function);
    kprintf("[CALLS] ");
    tell_calls();
}

void swap_storm(void) {
    uint32_t swaps = SETTING(run_calls) != 0 ? SETTING(run_calls) : SWAPS;
    uint32_t functions = bareflow_status.function_count;

    SETTING(thresholds[0]) = UINT32_MAX;    /* nothing else asks for code */
    log_silent = true;
    for (uint32_t turn = 0; bareflow_status.swap_count < swaps && !SETTING(scenario_stop); turn++) {
        swap(turn % functions);
        call(turn % functions);
        call(turn * 7 % functions);    /* 7: each in its turn, and not the one beside it */
    }
    log_silent = false;
    kprintf("[STORM] %u swaps, ", bareflow_status.swap_count);
    tell_calls();
}
