/* Profiling for an application's functions, and asking for better code for them. */
#pragma once

#include "runtime.h"
#include "stock_unikernel.h"

/* The application's own profile; debuggers find it through the root descriptor. */
extern jit_profile_t jit_profile;

void jit_profile_init(jit_profile_t *profile);

/*
 * Around a call. `name` is kept by address: it must be a string that stays as it is. A begin inside a begin of the
 * same name, as in a recursion, belongs to the outer one. Functions beyond MAX_JIT_PROFILE_ENTRIES are not profiled.
 */
void jit_profile_begin(jit_profile_t *profile, const char *name);
void jit_profile_end(jit_profile_t *profile, const char *name);

/* NULL when nothing of that name was profiled. */
const jit_profile_entry_t *jit_profile_find(const jit_profile_t *profile, const char *name);
uint64_t jit_profile_average(const jit_profile_entry_t *entry);
void jit_profile_print(const jit_profile_t *profile);
/* The same JSON as the kernel's profile export, on COM1. */
void jit_profile_export(const jit_profile_t *profile);

typedef int32_t (*jit_function_t)(int32_t a, int32_t b);

/* Code of a function for the levels O0 to O3, in that order; NULL where there is none but for O0. */
bool jit_optimize_register(const char *name, const jit_function_t code[BF_LEVELS]);
/*
 * Asks for a level for a function that was profiled. Its code becomes that of the highest level not above it that
 * there is code for. False when the function was not profiled or not registered, or the level is not 0 to 3.
 */
bool jit_optimize_request(const jit_profile_t *profile, const char *name, uint32_t level);
/* Asks for the level that each function's call count deserves: O1, O2, O3 by the kernel's thresholds. */
uint32_t jit_optimize_all(const jit_profile_t *profile);
/* The level that was asked for last, and that of the published code; BF_LEVELS when nothing of that name is known. */
uint32_t jit_optimize_asked(const char *name);
uint32_t jit_optimize_level(const char *name);
/* The published code, or NULL. */
jit_function_t jit_optimize_code(const char *name);
