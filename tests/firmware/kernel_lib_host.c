/* What the runtime library takes from the machine, and functions to optimise, for tests on the host. */
#include <stdint.h>

#include "jit_runtime.h"

char console[4096];
uint32_t console_used;

void serial_putchar(char c) {
    if (console_used < sizeof console)
        console[console_used++] = c;
}

void terminal_putchar(char c) {
    (void)c;
}

static jit_profile_t profile;

jit_profile_t *the_profile(void) {
    return &profile;
}

static int32_t level0(int32_t a, int32_t b) {
    return a + b;
}

static int32_t level2(int32_t a, int32_t b) {
    return a - b;
}

uint32_t register_function(const char *name) {
    const jit_function_t code[BF_LEVELS] = {level0, NULL, level2, NULL};
    return jit_optimize_register(name, code);
}

uint32_t register_level0_only(const char *name) {
    const jit_function_t code[BF_LEVELS] = {level0};
    return jit_optimize_register(name, code);
}

uint32_t register_nothing(const char *name) {
    const jit_function_t code[BF_LEVELS] = {NULL, level0, level2, NULL};
    return jit_optimize_register(name, code);
}

int32_t call(const char *name, int32_t a, int32_t b) {
    return jit_optimize_code(name)(a, b);
}
