/*
 * A matrix of nibbles times a vector of integers: nearly all of a model's work. All sums are of integers, so that their
 * order is free; the image has it row by row, the bitcode, for CPUs with vectors, a tile of 16 rows at a time.
 */
#include "kernels.h"
#include "numbers.h"

#define STEP 1048576.0f

#ifdef LEVEL

KERNEL(matmul) {
    const struct matmul_job *job = (const struct matmul_job *)address;
    const struct matrix *m = job->matrix;
    uint32_t tile_bytes = m->planes * m->groups * BF_MODEL_GROUP_BYTES;
    float unit = job->x->unit * STEP;

    for (uint32_t row = 0; row < m->rows; row++) {
        const uint16_t *word = (const uint16_t *)(m->tiles + row / BF_MODEL_TILE_ROWS * tile_bytes);
        int32_t total = 0;
        word += row % BF_MODEL_TILE_ROWS;
        for (uint32_t p = 0; p < m->planes; p++) {
            const int16_t *x = job->x->values;
            for (uint32_t g = 0; g < m->groups; g++) {
                int32_t inner = 0;
                for (uint32_t v = 0; v < BF_MODEL_GROUP_VECTORS; v++, x += 4, word += BF_MODEL_TILE_ROWS)
                    inner += (*word & 15) * x[0] + (*word >> 4 & 15) * x[1] + (*word >> 8 & 15) * x[2] +
                             (*word >> 12) * x[3];
                int32_t scale = (int16_t)word[0], minimum = (int16_t)word[BF_MODEL_TILE_ROWS];
                word += 2 * BF_MODEL_TILE_ROWS;
                total += (inner * (scale * job->x->scales[g] >> 14) >> 6) + (minimum * job->x->sums[g] >> 6);
            }
        }
        job->result[row] = of_int(total) * (m->factors[row] * unit);
    }
    return 0;
}

#else

typedef uint16_t words __attribute__((vector_size(32)));
typedef uint16_t tile_words __attribute__((vector_size(32), aligned(2)));
typedef int32_t lanes __attribute__((vector_size(32)));
typedef int32_t __attribute__((may_alias)) total_bits;

#define EVEN(x) ((lanes)(x) << 16 >> 16)
#define ODD(x) ((lanes)(x) >> 16)

/* The sums of all rows first: 16 products of a nibble and 127 fit into each of the two accumulators of 16 bits. */
INLINE void add_up(const struct matmul_job *job, const struct matrix *m, total_bits *totals) {
    const tile_words *w = (const tile_words *)m->tiles;

    for (uint32_t first = 0; first < m->rows; first += BF_MODEL_TILE_ROWS) {
        lanes evens = {0}, odds = {0};
        for (uint32_t p = 0; p < m->planes; p++) {
            const int16_t *x = job->x->values;
            for (uint32_t g = 0; g < m->groups; g++, w += 2) {
                words a = {0}, b = {0};
                for (uint32_t v = 0; v < BF_MODEL_GROUP_VECTORS; v++, x += 4) {
                    words q = *w++;
                    a += (q & 15) * (uint16_t)x[0];
                    b += (q >> 4 & 15) * (uint16_t)x[1];
                    a += (q >> 8 & 15) * (uint16_t)x[2];
                    b += (q >> 12) * (uint16_t)x[3];
                }
                words s = w[0], t = w[1];
                int32_t scale = job->x->scales[g], sum = job->x->sums[g];
                evens += ((EVEN(a) + EVEN(b)) * (EVEN(s) * scale >> 14) >> 6) + (EVEN(t) * sum >> 6);
                odds += ((ODD(a) + ODD(b)) * (ODD(s) * scale >> 14) >> 6) + (ODD(t) * sum >> 6);
            }
        }
        for (uint32_t lane = 0; lane < BF_MODEL_TILE_ROWS && first + lane < m->rows; lane++)
            totals[first + lane] = lane % 2 ? odds[lane / 2] : evens[lane / 2];
    }
}

KERNEL(matmul) {
    const struct matmul_job *job = (const struct matmul_job *)address;
    const struct matrix *m = job->matrix;
    total_bits *totals = (total_bits *)job->result;
    float unit = job->x->unit * STEP;

    add_up(job, m, totals);
    end_of_vectors();
    for (uint32_t row = 0; row < m->rows; row++)
        job->result[row] = of_int(totals[row]) * (m->factors[row] * unit);
    return 0;
}

#endif
