/* The kernels as functions of the adaptive JIT: registered, called through their slots, asked better code for. */
#pragma once

#include "kernels.h"

/* Before a debugger's hold. */
void tiers_register(void);
/* The level of a kernel's published code. */
uint32_t tiers_level(enum llama_kernel kernel);
