/* What the event rings cost: one event on and off, and a flood that a lossless reader has to keep up with. */
#include "defs.h"
#include "ring.h"

/* Short rounds, so that some of them run between two interruptions of the emulator by its host. */
#define TURNS 16384u
#define ROUNDS 400

enum site { NO_SITE, WITH_SITE };

/* One loop body, so that the loops differ in the call site only. */
static inline __attribute__((always_inline)) uint64_t loop(enum site site) {
    uint64_t start = rdtsc();

    for (uint32_t i = 0; i < TURNS; i++) {
        /* `i` is used, so that no loop counts down: DEC, which must keep CF, is slow under emulation. */
        __asm__ volatile("" : : "r"(i) : "memory");
        if (site == WITH_SITE)
            ring_emit(BF_EVENT_MARK, 0, i, i, i, i);
    }
    return rdtsc() - start;
}

static __attribute__((noinline)) uint64_t loop_without_site(void) {
    return loop(NO_SITE);
}

static __attribute__((noinline)) uint64_t loop_with_site(void) {
    return loop(WITH_SITE);
}

static void keep_least(uint64_t *least, uint64_t ticks) {
    if (*least == 0 || ticks < *least)
        *least = ticks;
}

/* The least of several rounds: what the host does meanwhile only ever adds time. */
void bench_ring_cost(void) {
    uint32_t mask = ring0->type_mask;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        keep_least(&bareflow_status.bench_empty_tsc, loop_without_site());
        ring0->type_mask = mask & ~(1u << BF_EVENT_MARK);
        keep_least(&bareflow_status.bench_off_tsc, loop_with_site());
        ring0->type_mask = mask | 1u << BF_EVENT_MARK;
        keep_least(&bareflow_status.bench_on_tsc, loop_with_site());
    }
    ring0->type_mask = mask;
    bareflow_status.bench_iterations = TURNS;
    kprintf("[BENCH] %u turns: empty %llu, event off %llu, event on %llu TSC ticks\n", TURNS,
            bareflow_status.bench_empty_tsc, bareflow_status.bench_off_tsc, bareflow_status.bench_on_tsc);
}

static __attribute__((noinline)) int32_t nothing(int32_t a, int32_t b) {
    __asm__ volatile("" : "+r"(a) : "r"(b));
    return a;
}

/* What the dispatcher adds to a call through a pointer; in instructions, when the TSC counts those (-icount). */
void bench_call_cost(void) {
    jit_function_entry_t *entry = &adaptive_jit.functions[0];
    jit_code_t volatile code = nothing;
    bf_ptr published = entry->current_code;

    /* No better code for this function. */
    SETTING(thresholds[0]) = UINT32_MAX;
    entry->current_code = (bf_ptr)nothing;
    adaptive_jit_call(0, 0, 0);
    uint64_t start = rdtsc();
    for (uint32_t i = 0; i < TURNS; i++)
        code((int32_t)i, 0);
    bareflow_status.bench_empty_tsc = rdtsc() - start;
    start = rdtsc();
    for (uint32_t i = 0; i < TURNS; i++)
        adaptive_jit_call(0, (int32_t)i, 0);
    bareflow_status.bench_on_tsc = rdtsc() - start;
    entry->current_code = published;
    bareflow_status.bench_iterations = TURNS;
    kprintf("[BENCH] %u calls: bare %llu, profiled %llu TSC ticks; %llu and %llu a call\n", TURNS,
            bareflow_status.bench_empty_tsc, bareflow_status.bench_on_tsc, bareflow_status.bench_empty_tsc / TURNS,
            bareflow_status.bench_on_tsc / TURNS);
}

/*
 * Event i carries i and the i-th state of a linear congruential generator (Numerical Recipes, 7.1) begun at 0, so
 * that a reader can check every record, and the last state tells that the guest computed all of them.
 */
void bench_ring_flood(void) {
    uint32_t state = 0;
    uint32_t emitted = 0;

    while (!SETTING(scenario_stop)) {
        state = state * 1664525u + 1013904223u;
        ring_emit(BF_EVENT_MARK, 0, emitted, state, 0, 0);
        emitted++;
    }
    bareflow_status.bench_result = state;
    bareflow_status.bench_emitted = emitted;
    kprintf("[BENCH] %u events, result 0x%08x\n", emitted, state);
}
