/* A text and what the model says to it. */
#pragma once

#include "network.h"
#include "vocabulary.h"

#define MOST_TEXT 4096          /* bytes that a person may say at once */

enum answer_end {
    ANSWER_FULL,                /* as many tokens as were wanted */
    ANSWER_STOPPED,             /* the model's own end of the text */
    ANSWER_NO_ROOM,             /* all positions are used */
    ANSWER_INTERRUPTED,         /* by answer_told */
    ANSWER_BAD_TEXT             /* too long, empty, or with a byte that the model has no token for */
};

struct answer {
    struct network *network;
    const struct vocabulary *words;
    bool chat;                  /* the model's own words go around the text */
    uint32_t wanted;            /* tokens */
    uint32_t *ids;              /* the text's, then the answer's; room for MOST_TEXT and all positions */
    uint32_t text_count;
    uint32_t count;             /* of the answer, so far */
    uint32_t logits_crc;        /* of all logits that a token was taken from */
};

/* What the answer's ids need. */
bool answer_init(struct answer *answer, struct network *network, const struct vocabulary *words, struct arena *arena);
/* Forgets what was said before. Calls answer_told after each token. */
enum answer_end answer(struct answer *answer, const char *text, uint32_t bytes);
/* By who wants the answer. After each token of the text (count = 0) and of the answer; false = no more. */
bool answer_told(const struct answer *answer);
