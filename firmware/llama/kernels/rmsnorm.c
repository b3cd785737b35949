/* A vector divided by the root of its mean square, times a factor for each value. */
#include "kernels.h"
#include "numbers.h"

KERNEL(rmsnorm) {
    const struct rmsnorm_job *job = (const struct rmsnorm_job *)address;
    float sum = 0;

    for (uint32_t i = 0; i < job->count; i++)
        sum += job->x[i] * job->x[i];
    float scale = 1.0f / __builtin_sqrtf(sum / (float)(int32_t)job->count + job->epsilon);
    for (uint32_t i = 0; i < job->count; i++)
        job->result[i] = job->x[i] * scale * job->factors[i];
    return 0;
}
