/* How many primes p there are with b <= p < a, by sieving one window after the other. */
#include <stdint.h>

#define WINDOW 1024
#define STRIDE 8

uint8_t primes_sieve[WINDOW];

/* Crosses out the multiples of `divisor` in base..base + WINDOW, from its square on. */
static void cross_out(uint32_t divisor, uint32_t base) {
    uint32_t square = divisor * divisor;
    uint32_t first = square > base ? square - base : (divisor - base % divisor) % divisor;

    for (uint32_t i = first; i < WINDOW; i += divisor)
        primes_sieve[i] = 1;
}

int32_t primes_main(int32_t a, int32_t b) {
    uint32_t from = b < 2 ? 2 : (uint32_t)b;
    uint32_t end = a < 0 ? 0 : (uint32_t)a;
    int32_t count = 0;

    for (uint32_t base = from - from % WINDOW; base < end; base += WINDOW) {
        for (uint32_t i = 0; i < WINDOW; i += STRIDE)
            for (uint32_t k = 0; k < STRIDE; k++)
                primes_sieve[i + k] = 0;
        for (uint32_t divisor = 2; divisor < 65536 && divisor * divisor < base + WINDOW; divisor++)
            cross_out(divisor, base);
        for (uint32_t i = 0; i < WINDOW && base + i < end; i++)
            if (base + i >= from && primes_sieve[i] == 0)
                count++;
    }
    return count;
}
