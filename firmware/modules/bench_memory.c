/* Memory bandwidth: writes a KiB (at most 64) word by word and reads them back, b times; the sum of what was read. */
#include <stdint.h>

#define WORDS_PER_KIB 256
#define LARGEST_KIB 64

uint32_t bench_memory_words[LARGEST_KIB * WORDS_PER_KIB];

int32_t bench_memory_main(int32_t a, int32_t b) {
    uint32_t words = (a < 0 ? 0 : a > LARGEST_KIB ? LARGEST_KIB : (uint32_t)a) * WORDS_PER_KIB;
    volatile uint32_t *memory = bench_memory_words;
    uint32_t total = 0;

    for (int32_t pass = 0; pass < b; pass++) {
        for (uint32_t i = 0; i < words; i++)
            memory[i] = i + (uint32_t)pass;
        for (uint32_t i = 0; i < words; i++)
            total += memory[i];
    }
    return (int32_t)total;
}
