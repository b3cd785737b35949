/* What each head takes from the positions so far. Sums begin with the first value and go on in the order of the index. */
#include "kernels.h"
#include "numbers.h"

KERNEL(attention) {
    const struct attention_job *job = (const struct attention_job *)address;
    uint32_t size = job->head_size, step = job->kv_heads * size;
    float scale = 1.0f / __builtin_sqrtf((float)(int32_t)size);
    float *weights = job->weights;

    for (uint32_t head = 0; head < job->kv_heads * job->shared; head++) {
        const float *query = job->query + head * size;
        const float *key = job->keys + head / job->shared * size;
        const float *value = job->values + head / job->shared * size;
        float *result = job->result + head * size;
        float most = 0, total = 0;
        for (uint32_t at = 0; at < job->seen; at++, key += step) {
            float sum = query[0] * key[0];
            for (uint32_t i = 1; i < size; i++)
                sum += query[i] * key[i];
            weights[at] = sum * scale;
            if (at == 0 || weights[at] > most)
                most = weights[at];
        }
        for (uint32_t at = 0; at < job->seen; at++) {
            weights[at] = power(weights[at] - most);
            total += weights[at];
        }
        float share = 1.0f / total;
        for (uint32_t at = 0; at < job->seen; at++, value += step) {
            float weight = weights[at] * share;
            for (uint32_t i = 0; i < size; i++)
                result[i] = at == 0 ? weight * value[i] : result[i] + weight * value[i];
        }
    }
    return 0;
}
