/* A packed model, used where it was loaded. The file is abi/model.h's; docs/model-format.md explains it. */
#pragma once

#include "arena.h"
#include "kernels.h"

struct layer {
    const float *attn_norm;
    struct matrix q, k, v, output;
    const float *ffn_norm;
    struct matrix gate, up, down;
};

struct packed {
    const struct bf_model_header *head;
    const struct bf_model_part *parts;
    struct matrix embedding;
    struct layer *layers;
    const float *output_norm;
    struct matrix output;
    const float *turns;         /* [positions][head_size / 2][cosine, sine] */
    /* Since here NULL and 0 when the model has none. */
    const uint32_t *token_ends;
    const char *token_text;
    const uint8_t *token_types;
    const struct bf_model_merge *merges;
    uint32_t merge_count;
    const uint32_t *chat_before;
    uint32_t chat_before_count;
    const uint32_t *chat_after;
    uint32_t chat_after_count;
};

/*
 * Finds everything in the model at `base`, of which at most `room` bytes are in memory. What is wrong with it, or NULL.
 * Afterwards no index from the file leads out of it; the weights may still be any.
 */
const char *packed_open(struct packed *model, const void *base, uint32_t room, struct arena *arena);
/* The first part whose bytes differ from its CRC, or NULL. */
const struct bf_model_part *packed_damaged(const struct packed *model);
