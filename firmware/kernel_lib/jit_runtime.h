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

/*
 * A function, and its code for the levels O0 to O3 as the linker placed it; NULL where there is none but for O0. The
 * debug interface copies a level's code when it is asked for: it must be whole from its first byte to `end`, begin
 * with its entry, call and jump to nothing else, and name what it reads, like constants, by its absolute address. A
 * section of its own with __start_ and __stop_ does.
 */
struct jit_source {
    const char *name;
    jit_function_t code[BF_LEVELS];
    const char *end[BF_LEVELS]; /* behind its last byte; NULL = not known, which the debug interface refuses */
    int32_t arguments[2];       /* default ones, and the result for them */
    int32_t expected;
    const char *bitcode;        /* with its header, for a host that compiles; NULL = none */
    const char *bitcode_end;
};

/* The function's number: 0, 1, 2, … by their order. JIT_NO_FUNCTION = there is one of that name, or no room. */
#define JIT_NO_FUNCTION 0xFFFFFFFFu
uint32_t jit_optimize_add(const struct jit_source *source);
/* Calls the published code. With the debug interface each such call is counted, and may be a safe point. */
int32_t jit_optimize_call(uint32_t function, int32_t a, int32_t b);
/* The same for code of which nothing else is known; the levels O0 to O3, in that order. */
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
