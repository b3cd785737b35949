/* The cache: follows a chain of a links through 64 KiB, each link b words on. The next address is known only when the
 * last one was read, so that a miss cannot hide. The result is the sum of the places visited. */
#include <stdint.h>

#define WORDS 16384

uint16_t bench_cache_next[WORDS];

int32_t bench_cache_main(int32_t a, int32_t b) {
    volatile uint16_t *next = bench_cache_next;
    uint32_t at = 0;
    uint32_t total = 0;

    /* Only the links that are followed, so that a call costs what its links cost. */
    for (int32_t i = 0; i < a; i++) {
        next[at] = (uint16_t)((at + (uint32_t)b) % WORDS);
        at = next[at];
        total += at;
    }
    return (int32_t)total;
}
