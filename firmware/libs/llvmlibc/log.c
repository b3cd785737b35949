/*
 * log: x = 2^k m with m in [sqrt(1/2), sqrt(2)], and ln m = 2 artanh(s) with s = (m - 1) / (m + 1), whose series in
 * s^2 <= 0.0295 converges fast.
 */
#include "double_bits.h"
#include "llvmlibc.h"

#define LN2_HIGH 0x1.62e42fefp-1 /* 33 bits, so that k * LN2_HIGH is exact */
#define LN2_LOW 0x1.473de6af278edp-34
#define SQRT2_FRACTION 0x6A09E667F3BCDULL /* of sqrt(2) = 1.414... */

double log(double x) {
    if (x == 0.0)
        return -__builtin_inf();
    if (exponent_of(x) == DOUBLE_EXPONENT_SPECIAL && x != -__builtin_inf())
        return x + x; /* infinity, NaN */
    if (x < 0.0)
        return __builtin_nan("");

    int k = 0;
    if (exponent_of(x) == 0) {
        x *= 0x1p54; /* a denormal */
        k = -54;
    }
    k += exponent_of(x) - DOUBLE_BIAS;
    uint64_t fraction = bits_of(x) & DOUBLE_FRACTION_MASK;
    int halve = fraction > SQRT2_FRACTION;
    k += halve;
    double m = double_of((uint64_t)(DOUBLE_BIAS - halve) << DOUBLE_FRACTION_BITS | fraction);

    /* ln m = f - f^2/2 + s (f^2/2 + tail), which is 2 artanh(s) with its largest part, f, exact. */
    double f = m - 1.0;
    double s = f / (2.0 + f);
    double square = s * s;
    double tail = 2 / 23.0;
    tail = 2 / 21.0 + square * tail;
    tail = 2 / 19.0 + square * tail;
    tail = 2 / 17.0 + square * tail;
    tail = 2 / 15.0 + square * tail;
    tail = 2 / 13.0 + square * tail;
    tail = 2 / 11.0 + square * tail;
    tail = 2 / 9.0 + square * tail;
    tail = 2 / 7.0 + square * tail;
    tail = 2 / 5.0 + square * tail;
    tail = 2 / 3.0 + square * tail;
    tail *= square;
    double half_square = 0.5 * f * f;
    return k * LN2_HIGH - ((half_square - (s * (half_square + tail) + k * LN2_LOW)) - f);
}
