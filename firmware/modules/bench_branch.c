/* Branch prediction: a branches whose ways an LCG seeded with b decides, and as many that always go one way; the
 * result is made of how often each was taken. */
#include <stdint.h>

int32_t bench_branch_main(int32_t a, int32_t b) {
    uint32_t random = (uint32_t)b;
    volatile uint32_t taken = 0;
    volatile uint32_t steady = 0;

    for (int32_t i = 0; i < a; i++) {
        random = random * 1664525u + 1013904223u;
        if ((random >> 31) != 0)
            taken = taken + 1;
        if (i >= 0)
            steady = steady + 1;
    }
    return (int32_t)(taken * 65536u + steady);
}
