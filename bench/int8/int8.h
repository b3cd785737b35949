/* A vector of a plain int8 engine, in the place of struct quantised: bytes, and a float for each group of 32. */
#pragma once

#include "kernels.h"

#define GROUP BF_MODEL_GROUP_COLUMNS

typedef int8_t __attribute__((may_alias)) int8_value;
typedef float __attribute__((may_alias)) int8_scale;

/* One group: the scale is such that the largest becomes 127. */
static inline __attribute__((always_inline)) float int8_scale_of(float largest) {
    return largest / 127.0f;
}

static inline __attribute__((always_inline)) int8_value int8_of(float x, float scale) {
    float value = scale > 0 ? x / scale : 0;
    return (int8_value)(value + (value < 0 ? -0.5f : 0.5f));
}
