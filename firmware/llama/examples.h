/* A small job for each kernel: what its default arguments are, so that new code can be tried before it is taken. */
#pragma once

#include "kernels.h"

/* Fills what they work on. */
void examples_fill(void);

extern struct embed_job example_embed;
extern struct rmsnorm_job example_rmsnorm;
extern struct quantise_job example_quantise;
extern struct matmul_job example_matmul;
extern struct rope_job example_rope;
extern struct attention_job example_attention;
extern struct add_job example_add;
extern struct swiglu_job example_swiglu;
extern struct argmax_job example_argmax;
extern struct sample_job example_sample;
