/*
 * When does a kernel get better code? It is asked for between two jobs, by what its calls were worth so far: a call
 * counts as one, and so do 2^20 cycles, for a model calls a kernel of seconds as often as one of microseconds.
 */
#include "tiers.h"

#include "examples.h"
#include "network.h"

#include "jit_runtime.h"

#include "stock_kernel.h"

#include "jit.h"

#define CYCLES_SHIFT 20

#define DECLARE_LEVEL(name, level)                           \
    int32_t name##_##level(int32_t address, int32_t unused); \
    extern const char __stop_jit_##name##_##level[];
#define DECLARE(name) \
    DECLARE_LEVEL(name, O0) DECLARE_LEVEL(name, O1) DECLARE_LEVEL(name, O3) \
    extern const char name##_bitcode[], name##_bitcode_end[];
LLAMA_KERNELS(DECLARE)

/* The level of the image's code that answers a wish for each level. */
static const uint32_t level_for[BF_LEVELS] = {0, 1, 1, 3};

static const struct jit_source sources[KERNEL_COUNT] = {
#define SOURCE(kernel)                                                                                                \
    {                                                                                                                 \
        .name = #kernel, .code = {kernel##_O0, kernel##_O1, NULL, kernel##_O3},                                       \
        .end = {__stop_jit_##kernel##_O0, __stop_jit_##kernel##_O1, NULL, __stop_jit_##kernel##_O3},                  \
        .arguments = {(int32_t)&example_##kernel, 0}, .bitcode = kernel##_bitcode, .bitcode_end = kernel##_bitcode_end \
    },
    LLAMA_KERNELS(SOURCE)
};

static uint32_t asked[KERNEL_COUNT];

void tiers_register(void) {
    for (uint32_t i = 0; i < KERNEL_COUNT; i++)
        if (jit_optimize_add(&sources[i]) != i)
            kprintf("[llama] %s is not registered\n", sources[i].name);
}

uint32_t tiers_level(enum llama_kernel kernel) {
    return function_table[kernel].level;
}

static uint32_t deserved_level(uint32_t kernel) {
    const function_profile_t *profile = &adaptive_jit.profiler.functions[function_table[kernel].profiler_id];
    uint64_t worth = profile->call_count + (profile->total_cycles >> CYCLES_SHIFT);
    uint32_t level = 0;

    while (level + 1 < BF_LEVELS && worth >= SETTING(thresholds[level]))
        level++;
    return level;
}

void kernel_run(enum llama_kernel kernel, const void *job) {
    adaptive_jit_call(kernel, (int32_t)job, 0);
    uint32_t wanted = asked[kernel] == BF_LEVELS - 1 ? 0 : deserved_level(kernel);
    if (wanted <= asked[kernel])
        return;
    asked[kernel] = wanted;
    bool better = level_for[wanted] > tiers_level(kernel);
    bool by_host = wanted == BF_LEVELS - 1 && bareflow_status.cpu_features != 0;
    if (better || by_host)
        tiers_about_to_tell();
    if (better)
        adaptive_jit_ask(kernel, level_for[wanted]);
    if (by_host)
        adaptive_jit_ask_host(kernel, wanted);
}
