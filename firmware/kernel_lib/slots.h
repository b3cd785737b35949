/* What jit_optimize_* asks of whoever keeps the functions' code: jit/slots.c, or debug/functions.c. */
#pragma once

#include "jit_runtime.h"

/* Functions come in the order of their numbers. False = this one cannot be kept. */
bool slot_fill(uint32_t function, const struct jit_source *source);
/* False = it keeps the level that it had. */
bool slot_publish(uint32_t function, uint32_t level);
jit_function_t slot_code(uint32_t function);
uint32_t slot_level(uint32_t function);
