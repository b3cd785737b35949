/* A token's row of the embedding, as floats: a weight is a whole number, which a float holds exactly, times a factor. */
#include "kernels.h"
#include "numbers.h"

INLINE int32_t weight(const uint8_t *tile, uint32_t row, uint32_t column) {
    const uint16_t *word = (const uint16_t *)(tile + column / BF_MODEL_GROUP_COLUMNS * BF_MODEL_GROUP_BYTES) + row;
    uint32_t inner = column % BF_MODEL_GROUP_COLUMNS;
    int32_t nibble = word[inner / 4 * BF_MODEL_TILE_ROWS] >> inner % 4 * 4 & 15;
    int32_t scale = (int16_t)word[BF_MODEL_GROUP_VECTORS * BF_MODEL_TILE_ROWS];
    int32_t minimum = (int16_t)word[(BF_MODEL_GROUP_VECTORS + 1) * BF_MODEL_TILE_ROWS];
    return nibble * scale + 16 * minimum;
}

KERNEL(embed) {
    const struct embed_job *job = (const struct embed_job *)address;
    const struct matrix *m = job->matrix;
    uint32_t plane = m->groups * BF_MODEL_GROUP_BYTES;
    uint32_t row = job->token % BF_MODEL_TILE_ROWS;
    const uint8_t *tile = m->tiles + job->token / BF_MODEL_TILE_ROWS * m->planes * plane;

    for (uint32_t column = 0; column < m->columns; column++) {
        int32_t sum = 0;
        for (uint32_t p = 0; p < m->planes; p++)
            sum += weight(tile + p * plane, row, column);
        job->result[column] = (float)sum * m->factors[job->token];
    }
    return 0;
}
