/*
 * The micro-JIT: an instruction emitter small enough for the guest, and patterns made with it. It needs nothing of
 * the kernel, so the host can build and check it too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The emitter: one function per instruction form, named after the Intel manual's mnemonics ---- */

/* The manual's register numbers. */
enum microjit_register {
    MICROJIT_EAX, MICROJIT_ECX, MICROJIT_EDX, MICROJIT_EBX, MICROJIT_ESP, MICROJIT_EBP, MICROJIT_ESI, MICROJIT_EDI
};

/* The manual's numbers of the two-operand group (opcode extension /0 to /7). */
enum microjit_operation {
    MICROJIT_ADD = 0, MICROJIT_OR = 1, MICROJIT_AND = 4, MICROJIT_SUB = 5, MICROJIT_XOR = 6, MICROJIT_CMP = 7
};

/* The manual's condition codes. */
enum microjit_condition {
    MICROJIT_O, MICROJIT_NO, MICROJIT_B, MICROJIT_AE, MICROJIT_E, MICROJIT_NE, MICROJIT_BE, MICROJIT_A,
    MICROJIT_S, MICROJIT_NS, MICROJIT_P, MICROJIT_NP, MICROJIT_L, MICROJIT_GE, MICROJIT_LE, MICROJIT_G
};

/* `failed` is set when the buffer is too small or a request cannot be encoded; nothing is written from then on. */
struct microjit {
    uint8_t *buffer;
    size_t capacity;
    size_t length;
    bool failed;
};

#define MICROJIT_LABEL_USES 4

/* A place in the code. Starts as all zeros; jumps to it may come before or after it is bound. */
struct microjit_label {
    bool bound;
    uint32_t uses;                              /* jumps that wait for it */
    size_t position;
    size_t waiting[MICROJIT_LABEL_USES];        /* where their 32-bit displacements are */
};

void microjit_begin(struct microjit *jit, uint8_t *buffer, size_t capacity);
/* Bytes emitted, or 0 when anything failed. */
size_t microjit_end(const struct microjit *jit);

void microjit_mov_immediate(struct microjit *jit, enum microjit_register to, int32_t value);
void microjit_mov(struct microjit *jit, enum microjit_register to, enum microjit_register from);
/* MOV to, [base + displacement]; and back. */
void microjit_load(struct microjit *jit, enum microjit_register to, enum microjit_register base,
                   int32_t displacement);
void microjit_store(struct microjit *jit, enum microjit_register base, int32_t displacement,
                    enum microjit_register from);
/* MOV to, [address]; and back. */
void microjit_load_absolute(struct microjit *jit, enum microjit_register to, uint32_t address);
void microjit_store_absolute(struct microjit *jit, uint32_t address, enum microjit_register from);
void microjit_operate(struct microjit *jit, enum microjit_operation operation, enum microjit_register to,
                      enum microjit_register from);
void microjit_operate_immediate(struct microjit *jit, enum microjit_operation operation, enum microjit_register to,
                                int32_t value);
void microjit_imul(struct microjit *jit, enum microjit_register to, enum microjit_register from);
void microjit_test(struct microjit *jit, enum microjit_register left, enum microjit_register right);
void microjit_push(struct microjit *jit, enum microjit_register from);
void microjit_pop(struct microjit *jit, enum microjit_register to);
void microjit_ret(struct microjit *jit);
void microjit_jmp(struct microjit *jit, struct microjit_label *to);
void microjit_jcc(struct microjit *jit, enum microjit_condition condition, struct microjit_label *to);
void microjit_bind(struct microjit *jit, struct microjit_label *label);

/*
 * ---- Patterns: each makes one `int32_t f(int32_t a, int32_t b)`, cdecl, with an EBP frame and the callee-saved
 * registers kept, and returns its bytes, or 0 when the buffer is too small or the parameters make no sense.
 * Arithmetic wraps modulo 2^32. ----
 */

/* Returns `value`. */
size_t microjit_emit_constant(uint8_t *buffer, size_t capacity, int32_t value);

/*
 * Returns the a-th Fibonacci number plus b; a <= 0 counts as 0. The first two numbers are the words at `seeds`,
 * which the versions of a function share; with 0 for an address they are 0 and 1.
 */
size_t microjit_emit_fibonacci(uint8_t *buffer, size_t capacity, uint32_t seeds);

/* Returns a + (a + 1) + ... + b, or 0 when a > b; the word at address `calls`, if not 0, counts the calls. */
size_t microjit_emit_sum(uint8_t *buffer, size_t capacity, uint32_t calls);

enum microjit_operand {
    MICROJIT_OPERAND_CONSTANT,
    MICROJIT_OPERAND_COUNTER,   /* the turns made before this one: 0, 1, 2, ... */
    MICROJIT_OPERAND_B          /* the argument b */
};

/* Returns what `total`, first `initial`, is after a turns of `total = total operation operand`. */
struct microjit_loop {
    int32_t initial;
    int32_t constant;
    uint32_t operand;           /* enum microjit_operand */
    uint32_t operation;         /* enum microjit_operation but MICROJIT_CMP, or MICROJIT_LOOP_MULTIPLY */
};

#define MICROJIT_LOOP_MULTIPLY 8

size_t microjit_emit_loop(uint8_t *buffer, size_t capacity, const struct microjit_loop *loop);

/*
 * Emits and runs each pattern, prints a line for each result, and returns the number that were wrong. Needs the
 * kernel's CODE pool and console.
 */
uint32_t microjit_run_tests(void);

#ifdef __cplusplus
}
#endif
