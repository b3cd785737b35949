/* The product of two a x a matrices (a at most 16), (i + j + b) mod 17 and (3 i + 5 j + b) mod 19: all its elements XORed. */
#include <stdint.h>

#define SIDE 16

uint32_t matrix_mul_left[SIDE * SIDE];
uint32_t matrix_mul_right[SIDE * SIDE];
uint32_t matrix_mul_product[SIDE * SIDE];

static uint32_t dot(const uint32_t *row, const uint32_t *column, uint32_t n) {
    uint32_t total = 0;

    for (const uint32_t *end = row + n; row != end; row++, column += SIDE)
        total += *row * *column;
    return total;
}

int32_t matrix_mul_main(int32_t a, int32_t b) {
    uint32_t n = a < 0 ? 0 : a > SIDE ? SIDE : (uint32_t)a;
    uint32_t seed = (uint32_t)b;
    uint32_t checksum = 0;

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            matrix_mul_left[i * SIDE + j] = (i + j + seed) % 17;
            matrix_mul_right[i * SIDE + j] = (i * 3 + j * 5 + seed) % 19;
        }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            uint32_t element = dot(&matrix_mul_left[i * SIDE], &matrix_mul_right[j], n);
            matrix_mul_product[i * SIDE + j] = element;
            checksum ^= element;
        }
    return (int32_t)checksum;
}
