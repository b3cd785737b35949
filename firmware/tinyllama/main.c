/* The TinyLlama unikernel's demo: it profiles its own functions, asks for better code by what it saw, and reports. */
#include "functions.h"
#include "jit_runtime.h"

#define BENCH_CALLS 10000
#define BENCH_NAME "nothing"

static int32_t nothing(int32_t a, int32_t b) {
    return a + b;
}

#define LEVELS(name) \
    #name, {name##_O0, name##_O1, name##_O2}, {__stop_jit_##name##_O0, __stop_jit_##name##_O1, __stop_jit_##name##_O2}

static const struct demo {
    struct jit_source function;
    uint32_t calls;
} demos[] = {
    {{LEVELS(fibonacci), .arguments = {10}, .expected = 55}, 10},
    {{LEVELS(sum_to_n), .arguments = {1000}, .expected = 500500}, 100},
    {{LEVELS(count_primes), .arguments = {100}, .expected = 25}, 5},
};
#define DEMOS (sizeof demos / sizeof demos[0])

static uint32_t numbers[DEMOS];     /* of the registered functions */
static uint64_t ready;

static void print_result(const struct jit_source *function, int32_t result) {
    kprintf("[tinyllama] %s(%d) = %d  %s\n", function->name, (int)function->arguments[0], (int)result,
            result == function->expected ? "[OK]" : "[FAILED]");
}

static void profiled_calls(uint32_t demo) {
    const struct jit_source *function = &demos[demo].function;
    int32_t result = 0;
    for (uint32_t i = 0; i < demos[demo].calls; i++) {
        jit_profile_begin(&jit_profile, function->name);
        result = jit_optimize_call(numbers[demo], function->arguments[0], 0);
        jit_profile_end(&jit_profile, function->name);
    }
    print_result(function, result);
}

/* The same calls with the new code, outside the profile: it stays what was measured at O0. */
static void optimized_calls(uint32_t demo) {
    const struct jit_source *function = &demos[demo].function;
    uint32_t level = jit_optimize_level(function->name);
    if (level == 0)
        return;
    int32_t result = 0;
    uint64_t start = rdtsc();
    for (uint32_t i = 0; i < demos[demo].calls; i++)
        result = jit_optimize_call(numbers[demo], function->arguments[0], 0);
    uint64_t average = (rdtsc() - start) / demos[demo].calls;
    print_result(function, result);
    kprintf("[JIT] %s: avg=%llu at O0, avg=%llu at O%u\n", function->name,
            jit_profile_average(jit_profile_find(&jit_profile, function->name)), average, (unsigned)level);
}

/* Cycles of BENCH_CALLS calls of a function that does next to nothing, bare or inside begin and end. */
static uint64_t bench(jit_profile_t *profile) {
    jit_function_t volatile code = nothing;     /* volatile: each call is made */
    uint64_t start = rdtsc();
    for (int32_t i = 0; i < BENCH_CALLS; i++) {
        if (profile != NULL)
            jit_profile_begin(profile, BENCH_NAME);
        code(i, 1);
        if (profile != NULL)
            jit_profile_end(profile, BENCH_NAME);
    }
    return rdtsc() - start;
}

static void print_bench(void) {
    jit_profile_t *profile = malloc(sizeof *profile);
    if (profile == NULL)
        return;
    jit_profile_init(profile);
    jit_profile_begin(profile, BENCH_NAME);     /* its first use makes the entry */
    jit_profile_end(profile, BENCH_NAME);
    uint64_t bare = bench(NULL);
    uint64_t profiled = bench(profile);
    kprintf("[BENCH] %u calls: %llu cycles bare, %llu profiled; %llu and %llu a call\n", BENCH_CALLS, bare, profiled,
            bare / BENCH_CALLS, profiled / BENCH_CALLS);
}

void application_register(void) {
    jit_profile_init(&jit_profile);
    for (uint32_t i = 0; i < DEMOS; i++)
        numbers[i] = jit_optimize_add(&demos[i].function);
    ready = rdtsc();
}

int main(void) {
    uint64_t start = boot_record->stage_tsc[BF_STAGE_KERNEL];

    terminal_setcolor(VGA_LIGHT_GREEN, VGA_BLACK);
    terminal_writestring("TinyLlama Unikernel v0.1\n");
    serial_writestring("[tinyllama] TinyLlama Unikernel v0.1 - Self-Profiling Demo\n");
    terminal_setcolor(VGA_LIGHT_GREY, VGA_BLACK);

    for (uint32_t i = 0; i < DEMOS; i++)
        profiled_calls(i);
    terminal_setcolor(VGA_YELLOW, VGA_BLACK);
    jit_profile_print(&jit_profile);
    terminal_setcolor(VGA_LIGHT_GREY, VGA_BLACK);

    /* By call counts first; then by hand the one that is costly but was called too seldom for that. */
    jit_optimize_all(&jit_profile);
    jit_optimize_request(&jit_profile, "count_primes", 3);
    for (uint32_t i = 0; i < DEMOS; i++)
        optimized_calls(i);
    jit_profile_export(&jit_profile);

    print_bench();
    kprintf("[TIMING] Init: %llu cycles\n", ready - start);
    kprintf("[TIMING] Total: %llu cycles\n", rdtsc() - start);
    kprintf("[tinyllama] Demo complete. System halted.\n");
    return 0;
}
