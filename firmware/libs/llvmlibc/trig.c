/*
 * sin and cos. The argument is reduced with integers only (M. Payne, R. Hanek, "Radian reduction for trigonometric
 * functions", 1983): exact for every double, and the same whether the compiler evaluates in 53 bits or, on the x87,
 * in 64. What is left, in [-pi/4, pi/4] with the quadrant apart, goes into Taylor polynomials.
 */
#include "double_bits.h"
#include "llvmlibc.h"

#define WORDS 6

/* 2/pi: bits in falling weight; its first bit, of weight 1/2, comes after two words of zeros. */
static const uint32_t two_over_pi[] = {
    0x00000000, 0x00000000, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041,
    0xFE5163AB, 0xDEBBC561, 0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E,
    0xE88235F5, 0x2EBB4484, 0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B,
    0x1FF897FF, 0xDE05980F, 0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D,
    0x7527BAC7, 0xEBE5F17B, 0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB,
};

/* pi/2 * 2^63 */
#define HALF_PI 0xC90FDAA22168C234ULL

/* |x| is quadrant * pi/2 + high + low, modulo 2 pi; |high| <= pi/4, and low continues high. */
struct reduced {
    unsigned quadrant;
    double high;
    double low;
};

/* The upper 64 of the 128 bits of a product. */
static uint64_t multiply_high(uint64_t a, uint64_t b) {
    uint64_t low = (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
    uint64_t middle = (a >> 32) * (b & 0xFFFFFFFF) + (low >> 32);
    uint64_t other = (a & 0xFFFFFFFF) * (b >> 32) + (middle & 0xFFFFFFFF);
    return (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32);
}

/* product = |x| * 2/pi modulo 4, as an integer of 192 bits (word 0 is the lowest) whose bit 190 has weight 1. */
static void multiply_by_two_over_pi(uint32_t product[WORDS], double x) {
    uint64_t mantissa = (bits_of(x) & DOUBLE_FRACTION_MASK) | (1ULL << DOUBLE_FRACTION_BITS);
    uint32_t mantissa_low = (uint32_t)mantissa;
    uint32_t mantissa_high = (uint32_t)(mantissa >> 32);

    /* |x| = mantissa * 2^exponent; bits of 2/pi above weight 2^(1 - exponent) contribute multiples of 4. */
    int exponent = exponent_of(x) - DOUBLE_BIAS - DOUBLE_FRACTION_BITS;
    unsigned first_bit = (unsigned)(exponent + 62);
    const uint32_t *table = two_over_pi + first_bit / 32;
    unsigned shift = first_bit % 32;

    uint32_t window[WORDS];
    for (int i = 0; i < WORDS; i++) {
        uint64_t pair = (uint64_t)table[WORDS - 1 - i] << 32 | table[WORDS - i];
        window[i] = (uint32_t)(pair >> (32 - shift));
    }

    uint64_t carry = 0;
    for (int i = 0; i < WORDS; i++) {
        carry += (uint64_t)window[i] * mantissa_low;
        product[i] = (uint32_t)carry;
        carry >>= 32;
    }
    carry = 0;
    for (int i = 0; i + 1 < WORDS; i++) {
        carry += (uint64_t)window[i] * mantissa_high + product[i + 1];
        product[i + 1] = (uint32_t)carry;
        carry >>= 32;
    }
}

/* For finite |x| >= 1/2: the table has no more zeros than that needs. */
static struct reduced reduce(double x) {
    uint32_t product[WORDS];
    multiply_by_two_over_pi(product, x);
    unsigned quadrant = product[WORDS - 1] >> 30;

    /* The fraction alone, then its distance to the nearest integer. */
    for (int i = WORDS - 1; i > 0; i--)
        product[i] = product[i] << 2 | product[i - 1] >> 30;
    product[0] <<= 2;
    int negative = product[WORDS - 1] >> 31 != 0;
    if (negative) {
        quadrant++;
        uint64_t carry = 1;
        for (int i = 0; i < WORDS; i++) {
            carry += (uint32_t)~product[i];
            product[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }

    /* No double is nearer than 2^-62 to a multiple of pi/2 without being one: the first 4 words hold 64 good bits. */
    int top = WORDS - 1;
    while (top > 3 && product[top] == 0)
        top--;
    int zeros = __builtin_clz(product[top] | 1);
    uint64_t leading = (uint64_t)product[top] << 32 | product[top - 1];
    if (zeros > 0)
        leading = leading << zeros | product[top - 2] >> (32 - zeros);
    zeros += 32 * (WORDS - 1 - top);

    uint64_t angle = multiply_high(leading, HALF_PI);
    double scale = power_of_two(-63 - zeros);
    if (negative)
        scale = -scale;
    return (struct reduced){
        .quadrant = quadrant & 3,
        .high = (double)(int64_t)(angle >> 11) * (2048.0 * scale),
        .low = (double)(int64_t)(angle & 0x7FF) * scale,
    };
}

/* Taylor, for |high| <= pi/4; the first term left out is below 2^-63 of the result. */
static double kernel_sin(double high, double low) {
    double square = high * high;
    double tail = 1 / 355687428096000.0; /* 1/17! */
    tail = -1 / 1307674368000.0 + square * tail;
    tail = 1 / 6227020800.0 + square * tail;
    tail = -1 / 39916800.0 + square * tail;
    tail = 1 / 362880.0 + square * tail;
    tail = -1 / 5040.0 + square * tail;
    tail = 1 / 120.0 + square * tail;
    tail = -1 / 6.0 + square * tail;
    /* d sin = cos(high) * low, and cos(high) is 1 - square / 2 as far as it matters here. */
    return high + (high * square * tail + (low - 0.5 * square * low));
}

static double kernel_cos(double high, double low) {
    double square = high * high;
    double tail = -1 / 6402373705728000.0; /* 1/18! */
    tail = 1 / 20922789888000.0 + square * tail;
    tail = -1 / 87178291200.0 + square * tail;
    tail = 1 / 479001600.0 + square * tail;
    tail = -1 / 3628800.0 + square * tail;
    tail = 1 / 40320.0 + square * tail;
    tail = -1 / 720.0 + square * tail;
    tail = 1 / 24.0 + square * tail;
    /* 1 - square / 2 in two parts, so that the rounding of the first is not lost. */
    double half = 0.5 * square;
    double head = 1.0 - half;
    return head + (((1.0 - head) - half) + (square * square * tail - high * low));
}

/* sin(x) when shift is 0; cos(x), which is sin(x + pi/2), when it is 1. */
static double sine_of_shifted(double x, unsigned shift) {
    if (exponent_of(x) == DOUBLE_EXPONENT_SPECIAL)
        return x - x; /* NaN */

    int negative = shift == 0 && bits_of(x) >> 63 != 0;
    struct reduced angle = { .quadrant = 0, .high = x, .low = 0 };
    if (exponent_of(x) >= DOUBLE_BIAS - 1) {
        angle = reduce(x);
    } else {
        negative = 0;
        if (shift == 0 && exponent_of(x) < DOUBLE_BIAS - 27)
            return x;
    }

    unsigned quadrant = angle.quadrant + shift;
    double result = quadrant & 1 ? kernel_cos(angle.high, angle.low) : kernel_sin(angle.high, angle.low);
    return ((quadrant >> 1) & 1) != (unsigned)negative ? -result : result;
}

double sin(double x) {
    return sine_of_shifted(x, 0);
}

double cos(double x) {
    return sine_of_shifted(x, 1);
}
