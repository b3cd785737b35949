/* zlib's CRC-32 (reflected polynomial 0xEDB88320), four bits at a time: a 64-byte table is enough here. */
#include "defs.h"

static const uint32_t nibble_table[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

/* `crc` is that of what came before, 0 at the beginning. */
uint32_t crc32_more(uint32_t crc, const void *data, size_t size) {
    const uint8_t *byte = data;

    crc = ~crc;
    while (size-- > 0) {
        crc ^= *byte++;
        crc = crc >> 4 ^ nibble_table[crc & 15];
        crc = crc >> 4 ^ nibble_table[crc & 15];
    }
    return ~crc;
}

uint32_t crc32(const void *data, size_t size) {
    return crc32_more(0, data, size);
}
