/* SHA-256 (FIPS 180-4) over a bytes (at most 1,024), byte i being (7 * i + b) mod 256. The digest is left in
 * sha256_digest; the first four bytes, big-endian, are the result. */
#include <stdint.h>

#define LONGEST 1024
#define BLOCK 64

static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t initial_state[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

uint8_t sha256_message[LONGEST + 2 * BLOCK];
uint8_t sha256_digest[32];

#define ROTATE(x, n) __builtin_rotateright32(x, n)

/* One round; the caller renames the variables instead of moving them. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                                                     \
    do {                                                                                                     \
        h += (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + (g ^ (e & (f ^ g))) + round_constant[i] + w[i]; \
        d += h;                                                                                              \
        h += (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + ((a & b) | (c & (a | b)));                     \
    } while (0)

static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];

    for (int32_t i = 0; i < 16; i++)
        w[i] = __builtin_bswap32(((const uint32_t *)(const void *)block)[i]);
    for (int32_t i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (ROTATE(x, 7) ^ ROTATE(x, 18) ^ x >> 3) + w[i - 7] + (ROTATE(y, 17) ^ ROTATE(y, 19) ^ y >> 10);
    }
    for (int32_t i = 0; i < 64; i += 8) {
        ROUND(a, b, c, d, e, f, g, h, i);
        ROUND(h, a, b, c, d, e, f, g, i + 1);
        ROUND(g, h, a, b, c, d, e, f, i + 2);
        ROUND(f, g, h, a, b, c, d, e, i + 3);
        ROUND(e, f, g, h, a, b, c, d, i + 4);
        ROUND(d, e, f, g, h, a, b, c, i + 5);
        ROUND(c, d, e, f, g, h, a, b, i + 6);
        ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

int32_t sha256_main(int32_t a, int32_t b) {
    uint32_t state[8];
    uint32_t size = a < 0 ? 0 : a > LONGEST ? LONGEST : (uint32_t)a;
    uint32_t padded = (size + 9 + BLOCK - 1) / BLOCK * BLOCK;
    uint8_t byte = (uint8_t)b;
    uint32_t i = 0;

    for (; i < 8; i++)
        state[i] = initial_state[i];
    for (i = 0; i < size; i++, byte += 7)
        sha256_message[i] = byte;
    sha256_message[i++] = 0x80;
    for (; i < padded - 4; i++)
        sha256_message[i] = 0;
    *(uint32_t *)(void *)&sha256_message[i] = __builtin_bswap32(size * 8);
    for (i = 0; i < padded; i += BLOCK)
        compress(state, &sha256_message[i]);
    for (i = 0; i < 8; i++)
        ((uint32_t *)(void *)sha256_digest)[i] = __builtin_bswap32(state[i]);
    return (int32_t)state[0];
}
