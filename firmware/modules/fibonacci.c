/* The a-th Fibonacci number, from seeds in the module's initialised data, plus b. */
#include <stdint.h>

#define STRIDE 4

uint32_t fibonacci_seed[2] = {0, 1};

static void advance(uint32_t pair[2]) {
    uint32_t next = pair[0] + pair[1];

    pair[0] = pair[1];
    pair[1] = next;
}

int32_t fibonacci_main(int32_t a, int32_t b) {
    uint32_t pair[2] = {fibonacci_seed[0], fibonacci_seed[1]};
    int32_t left = a;

    for (; left >= STRIDE; left -= STRIDE)
        for (int32_t i = 0; i < STRIDE; i++)
            advance(pair);
    for (; left > 0; left--)
        advance(pair);
    return (int32_t)(pair[0] + (uint32_t)b);
}
