/* The run: self-tests, modules, the adaptive run of every function, the exports, and then the idle loop. */
#include "cxx_tests.h"
#include "defs.h"
#include "disk.h"
#include "microjit.h"
#include "model_load.h"

#define CALLS_AFTER_FIRST_THRESHOLD 50

static void load_modules(void) {
    kprintf("DYNAMIC MODULE SYSTEM - LLVM AOT\n");
    module_load_embedded();
}

/* The log of this one function is part of the specification, so only it is told. */
static void register_functions(void) {
    adaptive_jit_init();
    for (uint32_t i = 0; i < embedded_module_count; i++) {
        uint32_t module = module_find(embedded_modules[i].name);
        if (module == NO_MODULE)
            continue;
        uint32_t function = adaptive_jit_register_function(&embedded_modules[i], module);
        if (function == NO_FUNCTION)
            kprintf("[ADAPTIVE-JIT] Not registered: %s\n", embedded_modules[i].name);
        else if (function == 0)
            kprintf("[ADAPTIVE-JIT] Registered: %s\n", function_table[function].name);
    }
    own_modules_register();
}

static int32_t call(uint32_t function) {
    const struct bf_function *record = &function_table[function];
    return adaptive_jit_call(function, record->arguments[0], record->arguments[1]);
}

static void print_statistics(uint32_t function) {
    const struct bf_function *record = &function_table[function];

    kprintf("=== PROFILING STATISTICS ===\n");
    kprintf("Total calls: %llu\n", function_profiler->functions[record->profiler_id].call_count);
    kprintf("Final optimization level: O%u\n", record->level);
    kprintf("Recompilations triggered: ");
    publish_print_path(function);
}

/* Calls one function `calls` times, and tells of each change of level as it is seen from outside. */
static void run_and_tell(uint32_t function, uint32_t calls, uint32_t first_report) {
    const struct bf_function *record = &function_table[function];
    uint32_t version = 0;

    for (uint32_t n = 1; n <= calls; n++) {
        if (n == 1)
            kprintf("[Call 1] Initial execution at O%u\n", record->level);
        else if (version != record->version)
            kprintf("[Call %u] Now running at O%u\n", n, record->level);
        version = record->version;
        call(function);
        if (version != record->version)
            kprintf("[Call %u] Threshold reached - recompiling to O%u...\n", n, record->level);
        if (n == first_report && n != calls)
            print_statistics(function);
    }
    print_statistics(function);
}

static void run_functions(void) {
    uint32_t calls = SETTING(run_calls) != 0 ? SETTING(run_calls) : SETTING(thresholds[2]) + 1;

    if (bareflow_status.function_count == 0)
        return;
    run_and_tell(0, calls, SETTING(thresholds[0]) + CALLS_AFTER_FIRST_THRESHOLD);
    for (uint32_t function = 1; function < bareflow_status.function_count; function++)
        for (uint32_t n = 0; n < calls; n++)
            call(function);
    profiler_print();
    export_functions();
}

/* A version published while nothing runs is executed once, so that its result is seen. */
static void try_new_versions(void) {
    for (uint32_t function = 0; function < bareflow_status.function_count; function++) {
        if ((jit_not_yet_called & 1u << function) == 0)
            continue;
        const struct bf_function *record = &function_table[function];
        int32_t result = call(function);
        kprintf("[CALL] %s: version %u at O%u: %d (expected: %d)\n", record->name, record->version, record->level,
                result, record->expected);
    }
}

static _Noreturn void idle(void) {
    boot_stage(BF_STAGE_IDLE);
    for (;;) {
        bareflow_status.idle_loops++;
        adaptive_jit_safe_point();
        try_new_versions();
        if (mailbox_waiting())
            cpu_pause();
        else
            cpu_idle();
    }
}

_Noreturn void bareflow_run(void) {
    ring_init();
    mailbox_init();
    pools_self_test();
    microjit_run_tests();
    cxx_run_tests();
    boot_stage(BF_STAGE_POOLS);
    disk_run_tests();
    load_modules();
    cache_load_modules();
    disk_load_all_modules();
    model_load();
    module_test_results();
    export_modules();   /* the run does not change it, and whoever reads it need not wait for the run */
    boot_stage(BF_STAGE_MODULES);
    register_functions();
    boot_stage(BF_STAGE_REGISTERED);
    adaptive_jit_wait_while_held();
    boot_stage(BF_STAGE_RUNNING);
    if (SETTING(scenario) == BF_SCENARIO_RING_COST)
        bench_ring_cost();
    else if (SETTING(scenario) == BF_SCENARIO_RING_FLOOD)
        bench_ring_flood();
    else if (SETTING(scenario) == BF_SCENARIO_CALL_COST)
        bench_call_cost();
    else if (SETTING(scenario) == BF_SCENARIO_MODULE_LIFE)
        module_test_life();
    else if (SETTING(scenario) == BF_SCENARIO_SWAP_STORM)
        swap_storm();
    else if (SETTING(scenario) == BF_SCENARIO_CALLS)
        calls_until_stopped();
    else
        run_functions();
    idle();
}
