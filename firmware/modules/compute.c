/* The sum of (i * j) % 1000 over 0 <= i < a, 0 <= j < b. */
#include <stdint.h>

#define MODULUS 1000

/* Added to a residue in 0..1999, by whether it reached the modulus: no division in the loop. */
static const int32_t correction[2] = {0, -MODULUS};

/* The sum of (step * j) % 1000 over from <= j < to. */
static uint32_t row(int32_t step, int32_t from, int32_t to) {
    int32_t increment = step % MODULUS;
    int32_t residue = increment * (from % MODULUS) % MODULUS;
    uint32_t total = 0;

    for (int32_t j = from; j < to; j++) {
        total += (uint32_t)residue;
        residue += increment;
        residue += correction[residue >= MODULUS];
    }
    return total;
}

int32_t compute_main(int32_t a, int32_t b) {
    int32_t square = a < b ? a : b;
    uint32_t total = 0;

    /* i * j = j * i: below the smaller bound, the part left of the diagonal counts twice. */
    for (int32_t i = 0; i < square; i++)
        total += 2 * row(i, 0, i) + row(i, i, i + 1);
    for (int32_t i = square; i < a; i++)
        total += row(i, 0, b);
    for (int32_t j = square; j < b; j++)
        total += row(j, 0, a);
    return (int32_t)total;
}
