/* Where a text is cut before its bytes are merged to tokens. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Where the piece ends that begins at `at`, which is before `end`; `digits`: numbers are cut into digits. */
uint32_t piece_end(const char *text, uint32_t at, uint32_t end, bool digits);
