/* C = A B for a x a matrices (a at most 8) of small multiples of 1/4, in tiles of 4 x 4: 16 times the sum of C's elements, each
 * weighted with (i + 2 j) mod 7 + 1. Every product and sum is exact in a float, so all tiers agree to the bit. */
#include <stdint.h>

#define SIDE 8
#define TILE 4

float gemm_tile_a[SIDE][SIDE];
float gemm_tile_b[SIDE][SIDE];
float gemm_tile_c[SIDE][SIDE];

static uint32_t least(uint32_t x, uint32_t y) {
    return x < y ? x : y;
}

static void multiply_tile(uint32_t i0, uint32_t j0, uint32_t k0, uint32_t n) {
    for (uint32_t i = i0; i < least(i0 + TILE, n); i++)
        for (uint32_t j = j0; j < least(j0 + TILE, n); j++) {
            float total = gemm_tile_c[i][j];
            for (uint32_t k = k0; k < least(k0 + TILE, n); k++)
                total += gemm_tile_a[i][k] * gemm_tile_b[k][j];
            gemm_tile_c[i][j] = total;
        }
}

int32_t gemm_tile_main(int32_t a, int32_t b) {
    uint32_t n = a < 0 ? 0 : a > SIDE ? SIDE : (uint32_t)a;
    float total = 0.0f;

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++) {
            gemm_tile_a[i][j] = (float)((int32_t)((i * 7 + j * 3 + (uint32_t)b) % 11) - 5) * 0.25f;
            gemm_tile_b[i][j] = (float)((int32_t)((i * 5 + j * 2 + (uint32_t)b) % 13) - 6) * 0.25f;
            gemm_tile_c[i][j] = 0.0f;
        }
    for (uint32_t i = 0; i < n; i += TILE)
        for (uint32_t j = 0; j < n; j += TILE)
            for (uint32_t k = 0; k < n; k += TILE)
                multiply_tile(i, j, k, n);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < n; j++)
            total += gemm_tile_c[i][j] * (float)((i + 2 * j) % 7 + 1);
    return (int32_t)(total * 16.0f);
}
