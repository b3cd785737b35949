/* The float forms: the double result, good to 53 bits, rounded to the 24 of a float. */
#include "llvmlibc.h"

float sinf(float x) {
    return (float)sin(x);
}

float cosf(float x) {
    return (float)cos(x);
}

float expf(float x) {
    return (float)exp(x);
}

float logf(float x) {
    return (float)log(x);
}
