/* The micro-JIT's test inside the guest: code is made in the CODE pool, run, and its result compared. */
#include "defs.h"
#include "microjit.h"

#define CODE_BYTES 256

/* Prints a line; returns 1 when the result is wrong or there is no code. */
static uint32_t check(const char *what, const uint8_t *code, size_t bytes, int32_t a, int32_t b, int32_t expected) {
    if (bytes == 0) {
        kprintf("[MICRO-JIT] %s: no code was emitted  [FAILED]\n", what);
        return 1;
    }
    int32_t result = ((jit_code_t)(uintptr_t)code)(a, b);
    bool right = result == expected;
    kprintf("[MICRO-JIT] %s = %d (%u bytes)  %s\n", what, (int)result, (unsigned)bytes, right ? "[OK]" : "[FAILED]");
    return right ? 0 : 1;
}

uint32_t microjit_run_tests(void) {
    uint8_t *code = jit_alloc_code(CODE_BYTES);
    if (code == NULL) {
        kprintf("[MICRO-JIT] no memory for the tests  [FAILED]\n");
        return 1;
    }
    const struct microjit_loop loop = {.initial = 7, .operation = MICROJIT_ADD, .operand = MICROJIT_OPERAND_COUNTER};
    uint32_t failed = 0;

    size_t bytes = microjit_emit_constant(code, CODE_BYTES, 42);
    failed += check("return 42", code, bytes, 0, 0, 42);
    bytes = microjit_emit_fibonacci(code, CODE_BYTES, 0);
    failed += check("fibonacci(5)", code, bytes, 5, 0, 5);
    failed += check("fibonacci(20)", code, bytes, 20, 0, 6765);
    bytes = microjit_emit_sum(code, CODE_BYTES, 0);
    failed += check("sum(1..100)", code, bytes, 1, 100, 5050);
    bytes = microjit_emit_loop(code, CODE_BYTES, &loop);
    failed += check("loop(10)", code, bytes, 10, 0, 52);

    jit_free_code(code);
    return failed;
}
