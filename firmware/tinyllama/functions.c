/* Compiled once per level, with LEVEL as O0, O1 or O2; each function in a section of its own, see jit_runtime.h. */
#include "functions.h"

#define JOIN(name, level) name##_##level
#define NAME(name, level) JOIN(name, level)
#define TEXT(text) #text
#define SECTION(name) TEXT(name)
#define PLACED(name) __attribute__((section(SECTION(NAME(jit_##name, LEVEL)))))

PLACED(fibonacci)
int32_t NAME(fibonacci, LEVEL)(int32_t n, int32_t unused) {
    return n < 2 ? n : NAME(fibonacci, LEVEL)(n - 1, unused) + NAME(fibonacci, LEVEL)(n - 2, unused);
}

PLACED(sum_to_n)
int32_t NAME(sum_to_n, LEVEL)(int32_t n, int32_t unused) {
    volatile int32_t one = 1;   /* with a plain 1 the loop becomes n * (n + 1) / 2 */
    int32_t total = 0;
    (void)unused;
    for (int32_t i = 1; i <= n; i++)
        total += i * one;
    return total;
}

/* Primes below n. */
PLACED(count_primes)
int32_t NAME(count_primes, LEVEL)(int32_t n, int32_t unused) {
    int32_t count = 0;
    (void)unused;
    for (int32_t candidate = 2; candidate < n; candidate++) {
        int32_t divisor = 2;
        while (divisor * divisor <= candidate && candidate % divisor != 0)
            divisor++;
        count += divisor * divisor > candidate;
    }
    return count;
}
