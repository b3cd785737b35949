/* What every file of the kernel includes: the ABI and the two halves' declarations. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bareflow.h"
#include "stock_kernel.h"

#include "core.h"
#include "jit.h"
