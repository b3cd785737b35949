/*
 * A matrix of bytes times a vector of bytes, both with a float scale for each group of 32: what plain engines do that are
 * compiled ahead of time. The packed model has nibbles: a matrix is converted when it is first used, into the end of RAM.
 */
#include "int8.h"

#include <stdbool.h>
#include <stddef.h>

#include "core.h"

static uint8_t *taken;          /* from here to the end of RAM */

/* Through a pointer: this code is copied, so that it must not call by distance. */
static uint32_t (*volatile const end_of_ram)(void) = ram_end;

/* A weight without its row's factor (docs/model-format.md). */
static inline __attribute__((always_inline)) int32_t whole(const struct matrix *m, uint32_t row, uint32_t g, uint32_t i) {
    uint32_t plane = m->groups * BF_MODEL_GROUP_BYTES;
    const uint8_t *tile = m->tiles + row / BF_MODEL_TILE_ROWS * m->planes * plane + g * BF_MODEL_GROUP_BYTES;
    int32_t sum = 0;

    for (uint32_t p = 0; p < m->planes; p++, tile += plane) {
        const uint16_t *word = (const uint16_t *)tile + row % BF_MODEL_TILE_ROWS;
        int32_t nibble = word[i / 4 * BF_MODEL_TILE_ROWS] >> i % 4 * 4 & 15;
        int32_t scale = (int16_t)word[BF_MODEL_GROUP_VECTORS * BF_MODEL_TILE_ROWS];
        int32_t minimum = (int16_t)word[(BF_MODEL_GROUP_VECTORS + 1) * BF_MODEL_TILE_ROWS];
        sum += nibble * scale + 16 * minimum;
    }
    return sum;
}

/* No planes: it is converted. */
static inline __attribute__((always_inline)) void convert(struct matrix *m) {
    uint32_t groups = m->rows * m->groups;

    if (taken == NULL)
        taken = (uint8_t *)(end_of_ram() & ~15u);
    taken -= groups * sizeof(float);
    float *scales = (float *)taken;
    taken -= groups * GROUP;
    int8_value *values = (int8_value *)taken;
    for (uint32_t row = 0; row < m->rows; row++)
        for (uint32_t g = 0; g < m->groups; g++) {
            float weights[GROUP], largest = 0;
            for (uint32_t i = 0; i < GROUP; i++) {
                weights[i] = (float)whole(m, row, g, i) * m->factors[row];
                float size = weights[i] < 0 ? -weights[i] : weights[i];
                largest = size > largest ? size : largest;
            }
            float scale = scales[row * m->groups + g] = int8_scale_of(largest);
            for (uint32_t i = 0; i < GROUP; i++)
                values[(row * m->groups + g) * GROUP + i] = int8_of(weights[i], scale);
        }
    *m = (struct matrix){(const uint8_t *)values, scales, m->rows, m->columns, m->groups, 0};
}

KERNEL(matmul) {
    const struct matmul_job *job = (const struct matmul_job *)address;
    const struct matrix *m = job->matrix;

    if (m->planes != 0)
        convert((struct matrix *)m);
    const int8_value *w = (const int8_value *)m->tiles;
    const float *scales = m->factors;
    const int8_scale *x_scales = (const int8_scale *)job->x->scales;
    for (uint32_t row = 0; row < m->rows; row++) {
        const int8_value *x = (const int8_value *)job->x->values;
        float total = 0;
        for (uint32_t g = 0; g < m->groups; g++, w += GROUP, x += GROUP) {
            int32_t inner = 0;
            for (uint32_t i = 0; i < GROUP; i++)
                inner += w[i] * x[i];
            total += (float)inner * scales[g] * x_scales[g];
        }
        scales += m->groups;
        job->result[row] = total;
    }
    return 0;
}
