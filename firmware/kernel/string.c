/* The C library's memory and string functions that compiled code and the kernel need. */
#include "defs.h"

/* REP MOVSD moves four bytes a step, under emulation as on hardware; REP MOVSB the rest. */
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    void *at = to;
    size_t words = size / 4;
    __asm__ volatile("rep movsl" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
    size &= 3;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t size) {
    if ((uintptr_t)to - (uintptr_t)from >= size)
        return memcpy(to, from, size);
    char *out = (char *)to + size;      /* overlapping, upwards: from the end */
    const char *in = (const char *)from + size;
    while (size-- > 0)
        *--out = *--in;
    return to;
}

void *memset(void *to, int value, size_t size) {
    void *at = to;
    uint32_t word = (uint8_t)value * 0x01010101u;
    size_t words = size / 4;
    __asm__ volatile("rep stosl" : "+D"(at), "+c"(words) : "a"(word) : "memory");
    size &= 3;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(word) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t size) {
    const uint8_t *left = a, *right = b;
    for (; size > 0; size--, left++, right++)
        if (*left != *right)
            return *left - *right;
    return 0;
}

size_t strlen(const char *text) {
    const char *end = text;
    while (*end)
        end++;
    return (size_t)(end - text);
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t size) {
    for (; size > 0; size--, a++, b++)
        if (*a != *b || !*a)
            return (uint8_t)*a - (uint8_t)*b;
    return 0;
}

char *strcpy(char *restrict to, const char *restrict from) {
    char *out = to;
    while ((*out++ = *from++))
        ;
    return to;
}

char *strncpy(char *restrict to, const char *restrict from, size_t size) {
    size_t i = 0;
    for (; i < size && from[i]; i++)
        to[i] = from[i];
    for (; i < size; i++)
        to[i] = 0;
    return to;
}
