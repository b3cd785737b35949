/* Floats become integers of 8 bits with a scale for each group. */
#include "kernels.h"
#include "numbers.h"

#define SMALLEST 1e-15f         /* a vector whose largest value is no larger is zeros */

INLINE float largest(const float *x, uint32_t count) {
    float top = 0;
    for (uint32_t i = 0; i < count; i++)
        if (absolute(x[i]) > top)
            top = absolute(x[i]);
    return top;
}

KERNEL(quantise) {
    const struct quantise_job *job = (const struct quantise_job *)address;
    float top = largest(job->x, job->groups * BF_MODEL_GROUP_COLUMNS);
    int used = top > SMALLEST;
    float unit = used ? top / (float)BF_MODEL_MOST_SCALE : 0;

    for (uint32_t g = 0; g < job->groups; g++) {
        const float *x = job->x + g * BF_MODEL_GROUP_COLUMNS;
        int16_t *values = job->result->values + g * BF_MODEL_GROUP_COLUMNS;
        int32_t scale = used ? (int32_t)(largest(x, BF_MODEL_GROUP_COLUMNS) / unit) + 1 : 0;
        if (scale > BF_MODEL_MOST_SCALE)
            scale = BF_MODEL_MOST_SCALE;
        float factor = used ? 127.0f / ((float)scale * unit) : 0;
        int32_t sum = 0;
        for (uint32_t i = 0; i < BF_MODEL_GROUP_COLUMNS; i++) {
            int32_t value = nearest(x[i] * factor);
            values[i] = (int16_t)value;
            sum += value;
        }
        job->result->scales[g] = scale;
        job->result->sums[g] = sum * scale >> 10;
    }
    job->result->unit = unit / 127.0f;
    return 0;
}
