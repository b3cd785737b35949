/* The TinyLlama unikernel's demo: it profiles its own functions, asks for better code by what it saw, and reports. */
#include "functions.h"
#include "jit_runtime.h"

#define BENCH_CALLS 10000
#define BENCH_NAME "nothing"

static int32_t nothing(int32_t a, int32_t b) {
    return a + b;
}

static const struct demo {
    const char *name;
    jit_function_t code[BF_LEVELS];
    int32_t argument;
    uint32_t calls;
    int32_t expected;
} demos[] = {
    {"fibonacci", {fibonacci_O0, fibonacci_O1, fibonacci_O2}, 10, 10, 55},
    {"sum_to_n", {sum_to_n_O0, sum_to_n_O1, sum_to_n_O2}, 1000, 100, 500500},
    {"count_primes", {count_primes_O0, count_primes_O1, count_primes_O2}, 100, 5, 25},
};
#define DEMOS (sizeof demos / sizeof demos[0])

static void print_result(const struct demo *demo, int32_t result) {
    kprintf("[tinyllama] %s(%d) = %d  %s\n", demo->name, (int)demo->argument, (int)result,
            result == demo->expected ? "[OK]" : "[FAILED]");
}

static void profiled_calls(const struct demo *demo) {
    jit_function_t code = jit_optimize_code(demo->name);
    int32_t result = 0;
    for (uint32_t i = 0; i < demo->calls; i++) {
        jit_profile_begin(&jit_profile, demo->name);
        result = code(demo->argument, 0);
        jit_profile_end(&jit_profile, demo->name);
    }
    print_result(demo, result);
}

/* The same calls with the new code, outside the profile: it stays what was measured at O0. */
static void optimized_calls(const struct demo *demo) {
    uint32_t level = jit_optimize_level(demo->name);
    if (level == 0)
        return;
    jit_function_t code = jit_optimize_code(demo->name);
    int32_t result = 0;
    uint64_t start = rdtsc();
    for (uint32_t i = 0; i < demo->calls; i++)
        result = code(demo->argument, 0);
    uint64_t average = (rdtsc() - start) / demo->calls;
    print_result(demo, result);
    kprintf("[JIT] %s: avg=%llu at O0, avg=%llu at O%u\n", demo->name,
            jit_profile_average(jit_profile_find(&jit_profile, demo->name)), average, (unsigned)level);
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
    kprintf("[BENCH] %u calls: %llu cycles bare, %llu profiled\n", BENCH_CALLS, bare, profiled);
}

int main(void) {
    uint64_t start = boot_record->stage_tsc[BF_STAGE_KERNEL];

    terminal_setcolor(VGA_LIGHT_GREEN, VGA_BLACK);
    terminal_writestring("TinyLlama Unikernel v0.1\n");
    serial_writestring("[tinyllama] TinyLlama Unikernel v0.1 - Self-Profiling Demo\n");
    terminal_setcolor(VGA_LIGHT_GREY, VGA_BLACK);

    jit_profile_init(&jit_profile);
    for (uint32_t i = 0; i < DEMOS; i++)
        jit_optimize_register(demos[i].name, demos[i].code);
    uint64_t ready = rdtsc();

    for (uint32_t i = 0; i < DEMOS; i++)
        profiled_calls(&demos[i]);
    terminal_setcolor(VGA_YELLOW, VGA_BLACK);
    jit_profile_print(&jit_profile);
    terminal_setcolor(VGA_LIGHT_GREY, VGA_BLACK);

    /* By call counts first; then by hand the one that is costly but was called too seldom for that. */
    jit_optimize_all(&jit_profile);
    jit_optimize_request(&jit_profile, "count_primes", 3);
    for (uint32_t i = 0; i < DEMOS; i++)
        optimized_calls(&demos[i]);
    jit_profile_export(&jit_profile);

    print_bench();
    kprintf("[TIMING] Init: %llu cycles\n", ready - start);
    kprintf("[TIMING] Total: %llu cycles\n", rdtsc() - start);
    kprintf("[tinyllama] Demo complete. System halted.\n");
    return 0;
}
