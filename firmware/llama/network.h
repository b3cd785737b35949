/* A Llama model at work: one token after the other, with the keys and values of those before. */
#pragma once

#include <stdbool.h>

#include "packed.h"

#include "bareflow.h"

struct network {
    const struct packed *model;
    struct bf_inference told;   /* where it is, for who looks on; position = tokens of the text so far */
    struct bf_buffer buffers[BF_MOST_BUFFERS];
    float *keys;                /* [layers][positions][kv_heads][head_size] */
    float *values;
    float *stream;              /* [dim] */
    float *normed;              /* [dim]; what an attention or a feed found, too */
    float *query;               /* [heads][head_size] */
    float *mixed;               /* the same, of what was taken from the positions */
    float *weights;             /* [positions] */
    float *gate;                /* [hidden] */
    float *up;
    float *logits;              /* [vocabulary] */
    uint32_t *shares;           /* [vocabulary], for who draws a token */
    float *kept;                /* [1 + 2 * layers][dim]: bf_inference tells what */
    uint32_t *kept_positions;
    struct quantised vector;    /* what is multiplied now */
};

/* Whoever runs the network calls its kernels: through slots, or directly. `job` is the kernel's own. */
void kernel_run(enum llama_kernel kernel, const void *job);

/* Called after each layer, and before each kernel, when there is one. */
extern void (*network_layer_done)(const struct network *network);
extern void (*network_kernel_begins)(const struct network *network);

/* False = no memory left for 16 positions. */
bool network_init(struct network *network, const struct packed *model, struct arena *arena);
/* Forgets the text. */
void network_clear(struct network *network);
/* Goes on with a token of the vocabulary; at < positions. */
void network_take(struct network *network, uint32_t token);
/* The likeliest next token; its logits are in `logits`. */
uint32_t network_next(struct network *network);
/* Another one, drawn by the logits of network_next, `likeliest` its answer; `number` is any. */
uint32_t network_draw(struct network *network, uint32_t likeliest, uint32_t number);
