/* Small functions built with the emitter; what each computes is in microjit.h. */
#include "microjit.h"

#define ARGUMENT_A 8 /* [EBP + 8]: above the saved EBP and the return address */
#define ARGUMENT_B 12

static void enter(struct microjit *jit, uint8_t *buffer, size_t capacity) {
    microjit_begin(jit, buffer, capacity);
    microjit_push(jit, MICROJIT_EBP);
    microjit_mov(jit, MICROJIT_EBP, MICROJIT_ESP);
    microjit_push(jit, MICROJIT_EBX);
    microjit_push(jit, MICROJIT_ESI);
}

static size_t leave(struct microjit *jit) {
    microjit_pop(jit, MICROJIT_ESI);
    microjit_pop(jit, MICROJIT_EBX);
    microjit_pop(jit, MICROJIT_EBP);
    microjit_ret(jit);
    return microjit_end(jit);
}

size_t microjit_emit_constant(uint8_t *buffer, size_t capacity, int32_t value) {
    struct microjit jit;
    enter(&jit, buffer, capacity);
    microjit_mov_immediate(&jit, MICROJIT_EAX, value);
    return leave(&jit);
}

size_t microjit_emit_fibonacci(uint8_t *buffer, size_t capacity, uint32_t seeds) {
    struct microjit jit;
    struct microjit_label turn = {0}, done = {0};

    /* ECX = turns left, EAX = this number, EDX = the next one. */
    enter(&jit, buffer, capacity);
    microjit_load(&jit, MICROJIT_ECX, MICROJIT_EBP, ARGUMENT_A);
    if (seeds != 0) {
        microjit_load_absolute(&jit, MICROJIT_EAX, seeds);
        microjit_load_absolute(&jit, MICROJIT_EDX, seeds + 4);
    } else {
        microjit_mov_immediate(&jit, MICROJIT_EAX, 0);
        microjit_mov_immediate(&jit, MICROJIT_EDX, 1);
    }
    microjit_operate_immediate(&jit, MICROJIT_CMP, MICROJIT_ECX, 0);
    microjit_jcc(&jit, MICROJIT_LE, &done);
    microjit_bind(&jit, &turn);
    microjit_mov(&jit, MICROJIT_EBX, MICROJIT_EDX);
    microjit_operate(&jit, MICROJIT_ADD, MICROJIT_EDX, MICROJIT_EAX);
    microjit_mov(&jit, MICROJIT_EAX, MICROJIT_EBX);
    microjit_operate_immediate(&jit, MICROJIT_SUB, MICROJIT_ECX, 1);
    microjit_jcc(&jit, MICROJIT_NE, &turn);
    microjit_bind(&jit, &done);
    microjit_load(&jit, MICROJIT_EBX, MICROJIT_EBP, ARGUMENT_B);
    microjit_operate(&jit, MICROJIT_ADD, MICROJIT_EAX, MICROJIT_EBX);
    return leave(&jit);
}

size_t microjit_emit_sum(uint8_t *buffer, size_t capacity, uint32_t calls) {
    struct microjit jit;
    struct microjit_label turn = {0}, done = {0};

    /* EAX = total, ECX = the next number, EDX = the last one. */
    enter(&jit, buffer, capacity);
    if (calls != 0) {
        microjit_load_absolute(&jit, MICROJIT_EAX, calls);
        microjit_operate_immediate(&jit, MICROJIT_ADD, MICROJIT_EAX, 1);
        microjit_store_absolute(&jit, calls, MICROJIT_EAX);
    }
    microjit_mov_immediate(&jit, MICROJIT_EAX, 0);
    microjit_load(&jit, MICROJIT_ECX, MICROJIT_EBP, ARGUMENT_A);
    microjit_load(&jit, MICROJIT_EDX, MICROJIT_EBP, ARGUMENT_B);
    microjit_operate(&jit, MICROJIT_CMP, MICROJIT_ECX, MICROJIT_EDX);
    microjit_jcc(&jit, MICROJIT_G, &done);
    microjit_bind(&jit, &turn);
    microjit_operate(&jit, MICROJIT_ADD, MICROJIT_EAX, MICROJIT_ECX);
    /* Compared before the step: b may be the largest number there is. */
    microjit_operate(&jit, MICROJIT_CMP, MICROJIT_ECX, MICROJIT_EDX);
    microjit_jcc(&jit, MICROJIT_E, &done);
    microjit_operate_immediate(&jit, MICROJIT_ADD, MICROJIT_ECX, 1);
    microjit_jmp(&jit, &turn);
    microjit_bind(&jit, &done);
    return leave(&jit);
}

/* ADC, SBB and CMP are not there: they compute nothing from total and operand alone. */
static bool is_loop_operation(uint32_t operation) {
    return operation == MICROJIT_ADD || operation == MICROJIT_OR || operation == MICROJIT_AND ||
           operation == MICROJIT_SUB || operation == MICROJIT_XOR || operation == MICROJIT_LOOP_MULTIPLY;
}

size_t microjit_emit_loop(uint8_t *buffer, size_t capacity, const struct microjit_loop *loop) {
    if (!is_loop_operation(loop->operation) || loop->operand > MICROJIT_OPERAND_B)
        return 0;

    struct microjit jit;
    struct microjit_label turn = {0}, done = {0};

    /* EAX = total, ECX = turns left, EDX = operand, ESI = turns made. */
    enter(&jit, buffer, capacity);
    microjit_mov_immediate(&jit, MICROJIT_EAX, loop->initial);
    microjit_mov_immediate(&jit, MICROJIT_ESI, 0);
    microjit_load(&jit, MICROJIT_ECX, MICROJIT_EBP, ARGUMENT_A);
    if (loop->operand == MICROJIT_OPERAND_B)
        microjit_load(&jit, MICROJIT_EDX, MICROJIT_EBP, ARGUMENT_B);
    else
        microjit_mov_immediate(&jit, MICROJIT_EDX, loop->constant);
    microjit_operate_immediate(&jit, MICROJIT_CMP, MICROJIT_ECX, 0);
    microjit_jcc(&jit, MICROJIT_LE, &done);
    microjit_bind(&jit, &turn);
    enum microjit_register operand = loop->operand == MICROJIT_OPERAND_COUNTER ? MICROJIT_ESI : MICROJIT_EDX;
    if (loop->operation == MICROJIT_LOOP_MULTIPLY)
        microjit_imul(&jit, MICROJIT_EAX, operand);
    else
        microjit_operate(&jit, (enum microjit_operation)loop->operation, MICROJIT_EAX, operand);
    microjit_operate_immediate(&jit, MICROJIT_ADD, MICROJIT_ESI, 1);
    microjit_operate_immediate(&jit, MICROJIT_SUB, MICROJIT_ECX, 1);
    microjit_jcc(&jit, MICROJIT_NE, &turn);
    microjit_bind(&jit, &done);
    return leave(&jit);
}
