#include <stdint.h>

#include "llvmlibc.h"

void *memmove(void *to, const void *from, size_t bytes) {
    unsigned char *destination = to;
    const unsigned char *source = from;

    /* Forwards unless the destination begins inside the source; the difference wraps when it is below it. */
    if ((uintptr_t)destination - (uintptr_t)source >= bytes) {
        for (size_t i = 0; i < bytes; i++)
            destination[i] = source[i];
    } else {
        while (bytes-- > 0)
            destination[bytes] = source[bytes];
    }
    return to;
}
