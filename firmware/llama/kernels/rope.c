/* Each pair of neighbouring values of each head, turned by its position's angle. */
#include "kernels.h"

KERNEL(rope) {
    const struct rope_job *job = (const struct rope_job *)address;
    float *x = job->x;

    for (uint32_t head = 0; head < job->heads; head++, x += job->head_size)
        for (uint32_t i = 0; i < job->head_size; i += 2) {
            float cosine = job->turns[i], sine = job->turns[i + 1];
            float left = x[i], right = x[i + 1];
            x[i] = left * cosine - right * sine;
            x[i + 1] = left * sine + right * cosine;
        }
    return 0;
}
