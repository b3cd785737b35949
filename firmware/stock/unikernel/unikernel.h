/* The stock runtime library's profiler. */
#pragma once

#include "stock.h"

void jit_profile_init(jit_profile_t *profile);
void jit_profile_begin(jit_profile_t *profile, const char *name);
void jit_profile_end(jit_profile_t *profile, const char *name);
void jit_profile_print(const jit_profile_t *profile);
