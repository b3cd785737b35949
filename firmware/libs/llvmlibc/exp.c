/* exp: x = k ln 2 + r with |r| <= ln 2 / 2, then 2^k times a Taylor polynomial of r. */
#include "double_bits.h"
#include "llvmlibc.h"

#define OVERFLOW_ABOVE 0x1.62e42fefa39efp+9 /* ln of the largest double */
#define ZERO_BELOW -0x1.74910d52d3052p+9    /* ln of half the smallest denormal */
#define LN2_HIGH 0x1.62e42fefp-1            /* 33 bits, so that k * LN2_HIGH is exact */
#define LN2_LOW 0x1.473de6af278edp-34
#define ONE_OVER_LN2 0x1.71547652b82fep+0

double exp(double x) {
    if (exponent_of(x) == DOUBLE_EXPONENT_SPECIAL)
        return x == -__builtin_inf() ? 0.0 : x + x; /* infinity, NaN */
    if (x > OVERFLOW_ABOVE)
        return __builtin_inf();
    if (x < ZERO_BELOW)
        return 0.0;

    int k = (int)(x * ONE_OVER_LN2 + (x < 0 ? -0.5 : 0.5));
    double high = x - k * LN2_HIGH;
    double low = k * LN2_LOW;
    double r = high - low;
    double error = (high - r) - low;

    /* e^r = 1 + r + r^2 (1/2! + r/3! + ...); the first term left out is below 2^-57. */
    double tail = 1 / 6227020800.0; /* 1/13! */
    tail = 1 / 479001600.0 + r * tail;
    tail = 1 / 39916800.0 + r * tail;
    tail = 1 / 3628800.0 + r * tail;
    tail = 1 / 362880.0 + r * tail;
    tail = 1 / 40320.0 + r * tail;
    tail = 1 / 5040.0 + r * tail;
    tail = 1 / 720.0 + r * tail;
    tail = 1 / 120.0 + r * tail;
    tail = 1 / 24.0 + r * tail;
    tail = 1 / 6.0 + r * tail;
    tail = 0.5 + r * tail;
    double result = 1.0 + (r + (error + r * r * tail));

    /* In two steps: neither 2^1024 nor a denormal's 2^k is a normal double. */
    int step = k / 2;
    return result * power_of_two(step) * power_of_two(k - step);
}
