/* A text and what the model says to it. */
#pragma once

#include "network.h"
#include "vocabulary.h"

#define MOST_TEXT 4096          /* bytes that a person may say at once */

struct answer {
    struct network *network;    /* its `told` has how many tokens are wanted and there, and how they are chosen */
    const struct vocabulary *words;
    bool chat;                  /* the model's own words go around the text */
    uint32_t *ids;              /* the text's, then the answer's; room for MOST_TEXT and all positions */
};

/* What the answer's ids need. */
bool answer_init(struct answer *answer, struct network *network, const struct vocabulary *words, struct arena *arena);
/* Forgets what was said before. Calls answer_told after each token. */
enum bf_answer_end answer(struct answer *answer, const char *text, uint32_t bytes);
/* By who wants the answer. After each token of the text (count = 0) and of the answer; false = no more. */
bool answer_told(const struct answer *answer);
