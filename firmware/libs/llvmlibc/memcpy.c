#include "llvmlibc.h"

void *memcpy(void *to, const void *from, size_t bytes) {
    unsigned char *destination = to;
    const unsigned char *source = from;

    /* Word by word; the x86 reads and writes unaligned words. */
    typedef unsigned int __attribute__((may_alias, aligned(1))) word;
    for (; bytes >= sizeof(word); bytes -= sizeof(word)) {
        *(word *)destination = *(const word *)source;
        destination += sizeof(word);
        source += sizeof(word);
    }
    while (bytes-- > 0)
        *destination++ = *source++;
    return to;
}
