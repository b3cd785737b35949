#include <stdint.h>

#include "llvmlibc.h"

void *memset(void *to, int value, size_t bytes) {
    unsigned char *destination = to;
    unsigned char byte = (unsigned char)value;

    typedef uint32_t __attribute__((may_alias)) word;
    for (; bytes > 0 && (uintptr_t)destination % sizeof(word) != 0; bytes--)
        *destination++ = byte;
    for (word pattern = byte * 0x01010101U; bytes >= sizeof(word); bytes -= sizeof(word)) {
        *(word *)destination = pattern;
        destination += sizeof(word);
    }
    while (bytes-- > 0)
        *destination++ = byte;
    return to;
}
