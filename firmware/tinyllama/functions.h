/* The demo's functions, in the levels that the application brings along. */
#pragma once

#include <stdint.h>

#define DECLARE_LEVEL(level)                                  \
    int32_t fibonacci_##level(int32_t n, int32_t unused);     \
    int32_t sum_to_n_##level(int32_t n, int32_t unused);      \
    int32_t count_primes_##level(int32_t n, int32_t unused);

DECLARE_LEVEL(O0)
DECLARE_LEVEL(O1)
DECLARE_LEVEL(O2)
