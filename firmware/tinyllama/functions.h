/* The demo's functions, in the levels that the application brings along. */
#pragma once

#include <stdint.h>

#define DECLARE(name, level)                                  \
    int32_t name##_##level(int32_t n, int32_t unused);        \
    extern const char __stop_jit_##name##_##level[];

#define DECLARE_LEVEL(level)                                  \
    DECLARE(fibonacci, level)                                 \
    DECLARE(sum_to_n, level)                                  \
    DECLARE(count_primes, level)

DECLARE_LEVEL(O0)
DECLARE_LEVEL(O1)
DECLARE_LEVEL(O2)
