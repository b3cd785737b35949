/* a + (a + 1) + … + b, counting its calls in data that all versions share. */
#include <stdint.h>

#define STRIDE 4

uint32_t sum_calls;

int32_t sum_main(int32_t a, int32_t b) {
    /* Volatile: with a plain 1 the loops become n * (n + 1) / 2. */
    volatile uint32_t one = 1;
    uint32_t next = (uint32_t)a;
    uint32_t left = a <= b ? (uint32_t)b - (uint32_t)a + 1 : 0;
    uint32_t total = 0;

    sum_calls++;
    for (; left >= STRIDE; left -= STRIDE)
        for (uint32_t i = 0; i < STRIDE; i++)
            total += next++ * one;
    for (; left > 0; left--)
        total += next++ * one;
    return (int32_t)total;
}
