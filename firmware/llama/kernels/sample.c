/*
 * A token drawn by its share: e to the power of what its logit has less than the largest, by the temperature. Shares are
 * whole numbers, so that their sums are the same in any order.
 */
#include "kernels.h"
#include "numbers.h"

#include "bareflow.h"

#define LEAST -12.0f            /* below it a share is less than half */

/* All shares together keep within 32 bits. */
INLINE uint32_t largest_share(uint32_t count) {
    uint32_t most = 0xFFFFFFFFu / count;

    return most < BF_SAMPLE_ONE ? most : BF_SAMPLE_ONE;
}

INLINE uint32_t sum_from(const uint32_t *shares, uint32_t count, uint32_t least) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += shares[i] >= least ? shares[i] : 0;
    return sum;
}

/* The largest share such that those that are no smaller have at least `wanted` together. */
INLINE uint32_t least_share(const uint32_t *shares, uint32_t count, uint32_t most, uint32_t wanted) {
    uint32_t low = 1, high = most;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (sum_from(shares, count, middle) >= wanted)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

INLINE uint32_t part_of(uint32_t whole, uint32_t number, uint32_t shift) {
    return (uint32_t)((uint64_t)whole * number >> shift);
}

KERNEL(sample) {
    struct sample_job *job = (struct sample_job *)address;
    uint32_t *shares = job->shares, most = largest_share(job->count), seen = 0;
    float top = job->x[job->likeliest], colder = (float)BF_SAMPLE_ONE / (float)(int32_t)job->temperature;

    for (uint32_t i = 0; i < job->count; i++) {
        float less = (job->x[i] - top) * colder;
        /* What is no number has no share. */
        shares[i] = less >= LEAST && less <= 0 ? (uint32_t)nearest(power(less) * (float)(int32_t)most) : 0;
    }
    uint32_t total = sum_from(shares, job->count, 1);
    uint32_t least = least_share(shares, job->count, most, part_of(total, job->top_p, 16));
    uint32_t chosen = part_of(sum_from(shares, job->count, least), job->number, 32);
    job->result = job->likeliest;
    for (uint32_t i = 0; i < job->count; i++) {
        if (shares[i] < least)
            continue;
        seen += shares[i];
        if (seen > chosen) {
            job->result = i;
            break;
        }
    }
    end_of_vectors();
    return 0;
}
