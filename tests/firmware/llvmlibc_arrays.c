/* Applies one function of the library to many values, so that a test crosses into the code under test once. */
#include <stddef.h>

#include "llvmlibc.h"

#define APPLY(NAME, TYPE)                                       \
    void apply_##NAME(const TYPE *from, TYPE *to, size_t count) \
    {                                                           \
        for (size_t i = 0; i < count; i++)                      \
            to[i] = NAME(from[i]);                              \
    }

APPLY(sin, double)
APPLY(cos, double)
APPLY(exp, double)
APPLY(log, double)
APPLY(sinf, float)
APPLY(cosf, float)
APPLY(expf, float)
APPLY(logf, float)

/* The other members, so that all of the archive is linked. */
void *apply_memcpy(void *to, const void *from, size_t bytes)
{
    return memcpy(to, from, bytes);
}

void *apply_memmove(void *to, const void *from, size_t bytes)
{
    return memmove(to, from, bytes);
}

void *apply_memset(void *to, int value, size_t bytes)
{
    return memset(to, value, bytes);
}

size_t apply_strlen(const char *text)
{
    return strlen(text);
}

int apply_strcmp(const char *left, const char *right)
{
    return strcmp(left, right);
}
