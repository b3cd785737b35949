/*
 * The arithmetic of docs/model-format.md in C, as a guest would write it. Reads from its input
 * { rows, columns, planes } as uint32_t, tiles, factors, then vector, factors of a norm; writes the matrix times the
 * vector, the vector's norm, and e to the power of its values. Without a C library, for any x86.
 */
#include <stdint.h>
#include "model.h"

#define MOST_COLUMNS 4096
static uint8_t input[8 << 20];
static int16_t values[2 * MOST_COLUMNS];
static int32_t scales[2 * MOST_COLUMNS / 32], sums[2 * MOST_COLUMNS / 32];
static float given[MOST_COLUMNS], result[MOST_COLUMNS];

static long call(long number, long a, const void *b, long c) {
    long got;
#ifdef __x86_64__
    __asm__ volatile("syscall" : "=a"(got) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
    __asm__ volatile("int $0x80" : "=a"(got) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
#endif
    return got;
}
#ifdef __x86_64__
enum { READ = 0, WRITE = 1, EXIT = 60 };
#else
enum { READ = 3, WRITE = 4, EXIT = 1 };
#endif

static int32_t nearest(float x) {
    return (int32_t)(x + (x < 0 ? -0.5f : 0.5f));
}

/* One rounding: x87's FILD has none, and a product of it would be rounded from more bits than SSE's. */
static float of_int(int32_t x) {
    return (float)(x >> 12) * 4096.0f + (float)(x & 4095);
}

static float absolute(float x) {
    return x < 0 ? -x : x;
}

/* Fills values, scales and sums, for each plane anew; the unit of all. */
static float quantise(const float *x, uint32_t groups, uint32_t planes) {
    float top = 0;
    for (uint32_t i = 0; i < groups * 32; i++)
        if (absolute(x[i]) > top)
            top = absolute(x[i]);
    int used = top > 1e-15f;
    float unit = used ? top / (float)BF_MODEL_MOST_SCALE : 0;
    for (uint32_t g = 0; g < groups; g++) {
        float most = 0;
        int32_t sum = 0;
        for (int i = 0; i < 32; i++)
            if (absolute(x[32 * g + i]) > most)
                most = absolute(x[32 * g + i]);
        int32_t scale = used ? (int32_t)(most / unit) + 1 : 0;
        if (scale > BF_MODEL_MOST_SCALE)
            scale = BF_MODEL_MOST_SCALE;
        float factor = used ? 127.0f / ((float)scale * unit) : 0;
        for (int i = 0; i < 32; i++)
            sum += values[32 * g + i] = (int16_t)nearest(x[32 * g + i] * factor);
        scales[g] = scale;
        sums[g] = sum * scale >> 10;
    }
    for (uint32_t i = 0; i < groups * 32 * (planes - 1); i++)
        values[groups * 32 + i] = values[i];
    for (uint32_t g = 0; g < groups * (planes - 1); g++) {
        scales[groups + g] = scales[g];
        sums[groups + g] = sums[g];
    }
    return unit / 127.0f;
}

#ifdef __AVX2__
/* A tile at once: 16 rows in the lanes of a vector, in accumulators of 16 bits, which 16 products of a group fit into. */
typedef uint16_t words __attribute__((vector_size(32)));
typedef uint16_t tile_words __attribute__((vector_size(32), aligned(2)));
typedef int32_t lanes __attribute__((vector_size(32)));

static lanes even(words x) {
    return (lanes)x << 16 >> 16;
}

static lanes odd(words x) {
    return (lanes)x >> 16;
}

static void multiply(const uint8_t *tiles, const float *factors, uint32_t rows, uint32_t groups, float unit) {
    const tile_words *w = (const tile_words *)tiles;
    for (uint32_t first = 0; first < rows; first += BF_MODEL_TILE_ROWS) {
        lanes evens = {0}, odds = {0};
        for (uint32_t g = 0; g < groups; g++, w += 10) {
            const int16_t *x = values + 32 * g;
            words a = {0}, b = {0};
            for (int v = 0; v < BF_MODEL_GROUP_VECTORS; v++, x += 4) {
                words q = w[v];
                a += (q & 15) * (uint16_t)x[0];
                b += (q >> 4 & 15) * (uint16_t)x[1];
                a += (q >> 8 & 15) * (uint16_t)x[2];
                b += (q >> 12) * (uint16_t)x[3];
            }
            words s = w[8], t = w[9];
            evens += ((even(a) + even(b)) * (even(s) * scales[g] >> 14) >> 6) + (even(t) * sums[g] >> 6);
            odds += ((odd(a) + odd(b)) * (odd(s) * scales[g] >> 14) >> 6) + (odd(t) * sums[g] >> 6);
        }
        for (uint32_t lane = 0; lane < BF_MODEL_TILE_ROWS && first + lane < rows; lane++) {
            int32_t total = lane % 2 ? odds[lane / 2] : evens[lane / 2];
            result[first + lane] = of_int(total) * (factors[first + lane] * (unit * 1048576.0f));
        }
    }
}
#else
static void multiply(const uint8_t *tiles, const float *factors, uint32_t rows, uint32_t groups, float unit) {
    for (uint32_t row = 0; row < rows; row++) {
        const uint8_t *at = tiles + row / BF_MODEL_TILE_ROWS * groups * BF_MODEL_GROUP_BYTES;
        int32_t total = 0;
        for (uint32_t g = 0; g < groups; g++, at += BF_MODEL_GROUP_BYTES) {
            const uint16_t *word = (const uint16_t *)at + row % BF_MODEL_TILE_ROWS;
            int32_t inner = 0;
            for (int v = 0; v < BF_MODEL_GROUP_VECTORS; v++)
                for (int i = 0; i < 4; i++)
                    inner += (word[v * BF_MODEL_TILE_ROWS] >> 4 * i & 15) * values[32 * g + 4 * v + i];
            int32_t scale = (int16_t)word[8 * BF_MODEL_TILE_ROWS], minimum = (int16_t)word[9 * BF_MODEL_TILE_ROWS];
            total += (inner * (scale * scales[g] >> 14) >> 6) + (minimum * sums[g] >> 6);
        }
        result[row] = of_int(total) * (factors[row] * (unit * 1048576.0f));
    }
}
#endif

static void norm(const float *x, const float *factors, uint32_t count) {
    float sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += x[i] * x[i];
    float scale = 1.0f / __builtin_sqrtf(sum / (float)(int32_t)count + 1e-5f);
    for (uint32_t i = 0; i < count; i++)
        result[i] = x[i] * scale * factors[i];
}

static float power(float x) {
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
    union { uint32_t bits; float value; } two = { .bits = (uint32_t)(whole + 127) << 23 };
    return value * two.value;
}

__attribute__((force_align_arg_pointer)) void _start(void) {
#ifndef __x86_64__
    static const uint16_t single = 0x007F;
    __asm__ volatile("fninit; fldcw %0" : : "m"(single));
#endif
    long size = 0, got;
    while ((got = call(READ, 0, input + size, (long)sizeof input - size)) > 0)
        size += got;
    const uint32_t *head = (const uint32_t *)input;
    uint32_t rows = head[0], columns = head[1], planes = head[2], plane = (columns + 31) / 32, groups = plane * planes;
    uint32_t tiles = (rows + BF_MODEL_TILE_ROWS - 1) / BF_MODEL_TILE_ROWS;
    const uint8_t *matrix = input + 12;
    const float *factors = (const float *)(matrix + tiles * groups * BF_MODEL_GROUP_BYTES);
    const float *vector = factors + tiles * BF_MODEL_TILE_ROWS;
    for (uint32_t i = 0; i < columns; i++)
        given[i] = vector[i];
    multiply(matrix, factors, rows, groups, quantise(given, plane, planes));
    call(WRITE, 1, result, rows * 4);
    norm(given, vector + columns, columns);
    call(WRITE, 1, result, columns * 4);
    for (uint32_t i = 0; i < columns; i++)
        result[i] = power(given[i]);
    call(WRITE, 1, result, columns * 4);
    call(EXIT, 0, 0, 0);
}
