/* Memory that is handed out once: what of RAM is left behind the model. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGN 64

struct arena {
    uint8_t *at;                /* a multiple of ARENA_ALIGN */
    uint8_t *end;
};

static inline size_t arena_left(const struct arena *arena) {
    return (size_t)(arena->end - arena->at);
}

/* Zeros, or NULL: there is not that much left. */
void *arena_take(struct arena *arena, uint64_t bytes);
