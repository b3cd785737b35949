/* The bits of an IEEE 754 double: sign, 11 bits of exponent with bias 1023, 52 bits of fraction. */
#pragma once

#include <stdint.h>

#define DOUBLE_BIAS 1023
#define DOUBLE_FRACTION_BITS 52
#define DOUBLE_EXPONENT_SPECIAL 0x7FF /* infinities and NaN */
#define DOUBLE_FRACTION_MASK ((1ULL << DOUBLE_FRACTION_BITS) - 1)

union double_bits {
    double value;
    uint64_t bits;
};

static inline uint64_t bits_of(double value) {
    union double_bits both = { .value = value };
    return both.bits;
}

/* Also rounds to 53 bits what the x87 still held with 64. */
static inline double double_of(uint64_t bits) {
    union double_bits both = { .bits = bits };
    return both.value;
}

static inline int exponent_of(double value) {
    return (int)(bits_of(value) >> DOUBLE_FRACTION_BITS) & DOUBLE_EXPONENT_SPECIAL;
}

/* 2 to the power n, for -1022 <= n <= 1023. */
static inline double power_of_two(int n) {
    return double_of((uint64_t)(n + DOUBLE_BIAS) << DOUBLE_FRACTION_BITS);
}
