/*
 * The runtime library for applications without the adaptive kernel. An application defines `main`, links with
 * kernel_lib.a, and gets the kernel's own console, memory and processor functions: they are declared in core.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bareflow.h"

#include "core.h"

/* Called when the core is up and interrupts are on; the machine halts when it returns. */
int main(void);
