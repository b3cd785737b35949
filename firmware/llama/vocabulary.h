/* Text to tokens and back: byte-level BPE. */
#pragma once

#include <stdbool.h>

#include "packed.h"

#define NOT_A_TOKEN 0xFFFFFFFFu

struct vocabulary {
    const struct packed *model;
    uint32_t of_byte[256];      /* the token that is this byte alone, or NOT_A_TOKEN */
    uint32_t *whole;            /* tokens that are found in a text as a whole */
    uint32_t whole_count;
};

/* False = no memory left, or the model has no tokens. */
bool vocabulary_init(struct vocabulary *words, const struct packed *model, struct arena *arena);
/*
 * Appends the tokens of a text to ids[*count …room); `whole`: special tokens that stand in it are these tokens. False =
 * no room, or the model has no token for one of its bytes.
 */
bool vocabulary_encode(const struct vocabulary *words, const char *text, uint32_t bytes, bool whole, uint32_t *ids,
                       uint32_t room, uint32_t *count);
/* What is printed for a token. */
const char *vocabulary_text(const struct packed *model, uint32_t token, uint32_t *bytes);
