/* Floats become bytes with a float scale for each group. */
#include "int8.h"

KERNEL(quantise) {
    const struct quantise_job *job = (const struct quantise_job *)address;
    int8_value *values = (int8_value *)job->result->values;
    int8_scale *scales = (int8_scale *)job->result->scales;

    for (uint32_t g = 0; g < job->groups; g++, values += GROUP) {
        const float *x = job->x + g * GROUP;
        float largest = 0;
        for (uint32_t i = 0; i < GROUP; i++) {
            float size = x[i] < 0 ? -x[i] : x[i];
            largest = size > largest ? size : largest;
        }
        scales[g] = int8_scale_of(largest);
        for (uint32_t i = 0; i < GROUP; i++)
            values[i] = int8_of(x[i], scales[g]);
    }
    return 0;
}
