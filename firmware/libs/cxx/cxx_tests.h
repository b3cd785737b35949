/* For the kernel, which is C, and for the test itself. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tests constructors, guards, virtual calls and new; prints a line for each, returns how many failed. */
uint32_t cxx_run_tests(void);

#ifdef __cplusplus
}
#endif
