/* How the model comes into memory. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Where it is, or might be: at most `room` bytes from `base` on. What went wrong, or NULL. */
const char *load_model(const void **base, uint32_t *room);
/* Every CRC of it is right. */
bool load_has_checked(void);
