/* zlib's CRC-32 (reflected polynomial 0xEDB88320), eight bytes at a time by tables that are made at the first use. */
#include "defs.h"

static const uint32_t nibble_table[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

#define AT_ONCE 8

/* tables[n][b]: what a byte b does to the CRC when n bytes follow it (Kounavis and Berry, 2005: slicing). */
static uint32_t tables[AT_ONCE][256];

typedef uint32_t __attribute__((aligned(1), may_alias)) loose_word;

static void make_tables(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte >> 4 ^ nibble_table[byte & 15];
        tables[0][byte] = crc >> 4 ^ nibble_table[crc & 15];
    }
    for (uint32_t n = 1; n < AT_ONCE; n++)
        for (uint32_t byte = 0; byte < 256; byte++)
            tables[n][byte] = tables[n - 1][byte] >> 8 ^ tables[0][tables[n - 1][byte] & 0xFF];
}

/* `crc` is that of what came before, 0 at the beginning. */
uint32_t crc32_more(uint32_t crc, const void *data, size_t size) {
    const uint8_t *byte = data;

    if (tables[0][1] == 0)
        make_tables();
    crc = ~crc;
    for (; size >= AT_ONCE; size -= AT_ONCE, byte += AT_ONCE) {
        uint32_t low = ((const loose_word *)byte)[0] ^ crc;
        uint32_t high = ((const loose_word *)byte)[1];
        crc = tables[7][low & 0xFF] ^ tables[6][low >> 8 & 0xFF] ^ tables[5][low >> 16 & 0xFF] ^ tables[4][low >> 24] ^
              tables[3][high & 0xFF] ^ tables[2][high >> 8 & 0xFF] ^ tables[1][high >> 16 & 0xFF] ^
              tables[0][high >> 24];
    }
    for (; size > 0; size--)
        crc = crc >> 8 ^ tables[0][(crc ^ *byte++) & 0xFF];
    return ~crc;
}

uint32_t crc32(const void *data, size_t size) {
    return crc32_more(0, data, size);
}
