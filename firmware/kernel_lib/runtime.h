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

/* Called when the core is up and interrupts are on: the place to register functions. A debugger's hold follows it. */
__attribute__((weak)) void application_register(void);
/* Called then; the machine halts when it returns. */
int main(void);
