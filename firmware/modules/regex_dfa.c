/* How often a[bc]*d matches, without overlap, in a letters of an LCG seeded with b, each one of a to e. */
#include <stdint.h>

#define LETTERS 5

enum { OUTSIDE, INSIDE, MATCHED, STATES };

static const uint8_t step[STATES][LETTERS] = {
    [OUTSIDE] = {INSIDE, OUTSIDE, OUTSIDE, OUTSIDE, OUTSIDE},
    [INSIDE] = {INSIDE, INSIDE, INSIDE, MATCHED, OUTSIDE},
    [MATCHED] = {INSIDE, OUTSIDE, OUTSIDE, OUTSIDE, OUTSIDE},
};

int32_t regex_dfa_main(int32_t a, int32_t b) {
    uint32_t state = OUTSIDE;
    uint32_t random = (uint32_t)b;
    int32_t matches = 0;

    for (int32_t i = 0; i < a; i++) {
        random = random * 1664525u + 1013904223u;
        state = step[state][(random >> 24) % LETTERS];
        matches += state == MATCHED;
    }
    return matches;
}
