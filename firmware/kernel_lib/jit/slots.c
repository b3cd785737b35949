/*
 * The code that each function runs: all that jit_optimize_* needs. An image with the debug interface links
 * debug/functions.c instead, where the functions are the adaptive JIT's.
 */
#include "slots.h"

static struct {
    jit_function_t code[BF_LEVELS];
    jit_function_t current;
    uint32_t level;
} slots[MAX_JIT_PROFILE_ENTRIES];

bool slot_fill(uint32_t function, const struct jit_source *source) {
    memcpy(slots[function].code, source->code, sizeof slots[function].code);
    slots[function].current = source->code[0];
    return true;
}

bool slot_publish(uint32_t function, uint32_t level) {
    __atomic_store_n(&slots[function].current, slots[function].code[level], __ATOMIC_RELEASE);
    slots[function].level = level;
    return true;
}

jit_function_t slot_code(uint32_t function) {
    return slots[function].current;
}

uint32_t slot_level(uint32_t function) {
    return slots[function].level;
}

int32_t jit_optimize_call(uint32_t function, int32_t a, int32_t b) {
    return __atomic_load_n(&slots[function].current, __ATOMIC_ACQUIRE)(a, b);
}
