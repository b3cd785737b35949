/* The kernels as functions of the adaptive JIT: registered, called through their slots, asked better code for. */
#pragma once

#include "kernels.h"

/* Before a debugger's hold. */
void tiers_register(void);
/* Called before a swap is told of, for who prints in the middle of a line. */
void tiers_about_to_tell(void);
/* The level of a kernel's published code. */
uint32_t tiers_level(enum llama_kernel kernel);
