/* The C library subset that compiled code may call: memory, strings, and elementary functions on the x87. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
size_t strlen(const char *text);
int strcmp(const char *left, const char *right);

/*
 * At most 4 ulp for double and 1 ulp for float, for every argument that the type can hold; NaN, infinities, signed
 * zeros and denormals as in ISO C, Annex F, without floating-point exceptions.
 */
double sin(double x);
double cos(double x);
double exp(double x);
double log(double x);
float sinf(float x);
float cosf(float x);
float expf(float x);
float logf(float x);

#ifdef __cplusplus
}
#endif
