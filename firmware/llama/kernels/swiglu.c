/* The gate lets through what it likes: gate / (1 + e^-gate) * up. */
#include "kernels.h"
#include "numbers.h"

KERNEL(swiglu) {
    const struct swiglu_job *job = (const struct swiglu_job *)address;

    for (uint32_t i = 0; i < job->count; i++) {
        float gate = job->gate[i];
        job->gate[i] = gate / (1.0f + power(-gate)) * job->up[i];
    }
    return 0;
}
