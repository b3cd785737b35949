/* Memory that is handed out once. */
#include "arena.h"

void *arena_take(struct arena *arena, uint64_t bytes) {
    uint64_t rounded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    uint32_t *taken = (uint32_t *)arena->at;

    if (rounded > arena_left(arena))
        return NULL;
    arena->at += rounded;
    for (uint32_t i = 0; i < rounded / sizeof *taken; i++)
        taken[i] = 0;
    return taken;
}
