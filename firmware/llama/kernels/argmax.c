/* The likeliest token: the first of the largest logits. */
#include "kernels.h"

KERNEL(argmax) {
    struct argmax_job *job = (struct argmax_job *)address;
    uint32_t best = 0;

    for (uint32_t i = 1; i < job->count; i++)
        if (job->x[i] > job->x[best])
            best = i;
    job->result = best;
    return 0;
}
