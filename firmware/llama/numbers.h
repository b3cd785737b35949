/*
 * Arithmetic that has the same bits on every CPU and at every level (docs/model-format.md). Each operation on floats is
 * a single one of 32 bits: on x87 the control word must be LLAMA_X87_CONTROL.
 */
#pragma once

#include <stdint.h>

#define LLAMA_X87_CONTROL 0x007F        /* results rounded to 24 bits, to nearest; no exceptions */

/* At every level: code that is copied elsewhere must not call what stays behind. */
#define INLINE static inline __attribute__((always_inline))

/*
 * An emulator that computes vectors with those of its host leaves the upper halves of the host's registers in use until
 * it leaves translated code; until then each scalar float may take it 50 times as long. Writing the flags makes it leave.
 */
INLINE void end_of_vectors(void) {
#ifndef LEVEL                           /* the image's code has none */
    __builtin_ia32_writeeflags_u32(__builtin_ia32_readeflags_u32());
#endif
}

INLINE int32_t nearest(float x) {
    return (int32_t)(x + (x < 0 ? -0.5f : 0.5f));
}

/* One rounding: x87's FILD has none, and a product of it would be rounded from more bits than SSE's. */
INLINE float of_int(int32_t x) {
    return (float)(x >> 12) * 4096.0f + (float)(x & 4095);
}

INLINE float absolute(float x) {
    return x < 0 ? -x : x;
}

/* e to the power of x: 2 to a whole power, as bits, times a polynomial of the rest. */
INLINE float power(float x) {
    float kept = x < -75.0f ? -75.0f : x > 75.0f ? 75.0f : x;
    int32_t whole = nearest(kept * 1.44269504f);
    float rest = kept - (float)whole * 0.693359375f - (float)whole * -2.12194440e-4f;
    float value = 1.0f / 720.0f;
    value = value * rest + 1.0f / 120.0f;
    value = value * rest + 1.0f / 24.0f;
    value = value * rest + 1.0f / 6.0f;
    value = value * rest + 0.5f;
    value = value * rest + 1.0f;
    value = value * rest + 1.0f;
    union {
        uint32_t bits;
        float value;
    } two = {.bits = (uint32_t)(whole + 127) << 23};
    return value * two.value;
}
