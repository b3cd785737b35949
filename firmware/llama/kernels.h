/*
 * The kernels of a language model: what each is given, in a job. A kernel is int32_t f(address of its job, 0), a
 * function of the adaptive JIT, and answers 0; all that it makes is where the job says.
 */
#pragma once

#include <stdint.h>

#include "model.h"

/* In the order of their use. */
#define LLAMA_KERNELS(each) \
    each(embed) each(rmsnorm) each(quantise) each(matmul) each(rope) each(attention) each(add) each(swiglu) each(argmax) \
    each(sample)

enum llama_kernel {
#define ONE(name) KERNEL_##name,
    LLAMA_KERNELS(ONE)
#undef ONE
    KERNEL_COUNT
};

/* A matrix of the packed model. */
struct matrix {
    const uint8_t *tiles;
    const float *factors;       /* of each row */
    uint32_t rows;
    uint32_t columns;
    uint32_t groups;            /* of a row, in one plane */
    uint32_t planes;
};

/* A vector of integers: value = values x its group's scale x unit. */
struct quantised {
    int16_t *values;            /* 32 of a group; those behind the last column are 0 */
    int32_t *scales;
    int32_t *sums;              /* of a group's values, times its scale, shifted by 10 */
    float unit;
};

struct embed_job {              /* result = row `token` */
    const struct matrix *matrix;
    uint32_t token;
    float *result;
};

struct rmsnorm_job {
    const float *x;
    const float *factors;
    float *result;
    uint32_t count;
    float epsilon;
};

struct quantise_job {
    const float *x;             /* whole groups */
    uint32_t groups;
    struct quantised *result;
};

struct matmul_job {
    const struct matrix *matrix;
    const struct quantised *x;
    float *result;
};

struct rope_job {               /* in place */
    float *x;
    const float *turns;         /* cosine and sine of each pair of a head */
    uint32_t heads;
    uint32_t head_size;
};

struct attention_job {
    const float *query;
    const float *keys;          /* [seen][kv_heads][head_size] */
    const float *values;
    float *weights;             /* room for `seen` */
    float *result;
    uint32_t kv_heads;
    uint32_t shared;            /* heads of queries that have a head of keys and values in common */
    uint32_t head_size;
    uint32_t seen;
};

struct add_job {                /* x += y */
    float *x;
    const float *y;
    uint32_t count;
};

struct swiglu_job {             /* into gate */
    float *gate;
    const float *up;
    uint32_t count;
};

struct argmax_job {
    const float *x;
    uint32_t count;
    uint32_t result;            /* the first of the largest */
};

struct sample_job {
    const float *x;
    uint32_t *shares;           /* room for `count` */
    uint32_t count;
    uint32_t temperature;       /* in 1/BF_SAMPLE_ONE, 1 to BF_SAMPLE_MOST */
    uint32_t top_p;             /* in 1/BF_SAMPLE_ONE, 1 to BF_SAMPLE_ONE */
    uint32_t number;            /* any: which one of them */
    uint32_t likeliest;         /* as argmax found */
    uint32_t result;
};

/*
 * How a kernel is written. At a level of the image it gets a section of its own, for the debug interface copies its
 * code; as bitcode, for the host, it is NAME_main.
 */
#define LLAMA_JOIN(name, level) name##_##level
#define LLAMA_NAME(name, level) LLAMA_JOIN(name, level)
#define LLAMA_TEXT(text) #text
#define LLAMA_SECTION(name) LLAMA_TEXT(name)
#ifdef LEVEL
#define KERNEL(name)                                                                        \
    int32_t LLAMA_NAME(name, LEVEL)(int32_t address, int32_t unused);                       \
    __attribute__((section(LLAMA_SECTION(LLAMA_NAME(jit_##name, LEVEL)))))                  \
    int32_t LLAMA_NAME(name, LEVEL)(int32_t address, __attribute__((unused)) int32_t unused)
#else
#define KERNEL(name)                                                                        \
    int32_t name##_main(int32_t address, int32_t unused);                                   \
    int32_t name##_main(int32_t address, __attribute__((unused)) int32_t unused)
#endif
