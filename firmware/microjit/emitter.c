/* Instruction encodings: Intel SDM volume 2, chapter 2 (ModR/M, SIB) and the page of each instruction. */
#include "microjit.h"

#define MODRM_REGISTER 3        /* mod: the operand is a register */
#define MODRM_DISPLACEMENT8 1
#define MODRM_DISPLACEMENT32 2
#define MODRM_ABSOLUTE 5        /* rm with mod 0: only a 32-bit displacement */
#define SIB_ONLY_ESP 0x24       /* base ESP, no index: rm = 4 always asks for a SIB byte */

void microjit_begin(struct microjit *jit, uint8_t *buffer, size_t capacity) {
    *jit = (struct microjit){.buffer = buffer, .capacity = capacity};
}

size_t microjit_end(const struct microjit *jit) {
    return jit->failed ? 0 : jit->length;
}

/* Room for a whole instruction, so that none is ever cut in two. */
static bool reserve(struct microjit *jit, size_t bytes) {
    if (jit->failed || jit->capacity - jit->length < bytes)
        jit->failed = true;
    return !jit->failed;
}

static void put8(struct microjit *jit, uint32_t value) {
    jit->buffer[jit->length++] = (uint8_t)value;
}

static void write32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static void put32(struct microjit *jit, uint32_t value) {
    write32(jit->buffer + jit->length, value);
    jit->length += 4;
}

static void put_modrm(struct microjit *jit, uint32_t mod, uint32_t reg, uint32_t rm) {
    put8(jit, mod << 6 | (reg & 7) << 3 | (rm & 7));
}

static bool fits8(int32_t value) {
    return value >= INT8_MIN && value <= INT8_MAX;
}

void microjit_mov_immediate(struct microjit *jit, enum microjit_register to, int32_t value) {
    if (!reserve(jit, 5))
        return;
    put8(jit, 0xB8 | (to & 7));
    put32(jit, (uint32_t)value);
}

static void put_two_registers(struct microjit *jit, uint32_t opcode, uint32_t reg, uint32_t rm) {
    if (!reserve(jit, 2))
        return;
    put8(jit, opcode);
    put_modrm(jit, MODRM_REGISTER, reg, rm);
}

void microjit_mov(struct microjit *jit, enum microjit_register to, enum microjit_register from) {
    put_two_registers(jit, 0x89, from, to);
}

static void put_memory(struct microjit *jit, uint32_t opcode, uint32_t reg, uint32_t base, int32_t displacement) {
    bool sib = (base & 7) == MICROJIT_ESP;
    bool small = fits8(displacement);
    if (!reserve(jit, 2 + (sib ? 1 : 0) + (small ? 1 : 4)))
        return;
    put8(jit, opcode);
    put_modrm(jit, small ? MODRM_DISPLACEMENT8 : MODRM_DISPLACEMENT32, reg, base);
    if (sib)
        put8(jit, SIB_ONLY_ESP);
    if (small)
        put8(jit, (uint32_t)displacement);
    else
        put32(jit, (uint32_t)displacement);
}

void microjit_load(struct microjit *jit, enum microjit_register to, enum microjit_register base,
                   int32_t displacement) {
    put_memory(jit, 0x8B, to, base, displacement);
}

void microjit_store(struct microjit *jit, enum microjit_register base, int32_t displacement,
                    enum microjit_register from) {
    put_memory(jit, 0x89, from, base, displacement);
}

static void put_absolute(struct microjit *jit, uint32_t opcode, uint32_t reg, uint32_t address) {
    if (!reserve(jit, 6))
        return;
    put8(jit, opcode);
    put_modrm(jit, 0, reg, MODRM_ABSOLUTE);
    put32(jit, address);
}

void microjit_load_absolute(struct microjit *jit, enum microjit_register to, uint32_t address) {
    put_absolute(jit, 0x8B, to, address);
}

void microjit_store_absolute(struct microjit *jit, uint32_t address, enum microjit_register from) {
    put_absolute(jit, 0x89, from, address);
}

void microjit_operate(struct microjit *jit, enum microjit_operation operation, enum microjit_register to,
                      enum microjit_register from) {
    put_two_registers(jit, (operation & 7) << 3 | 0x01, from, to);
}

void microjit_operate_immediate(struct microjit *jit, enum microjit_operation operation, enum microjit_register to,
                                int32_t value) {
    bool small = fits8(value);
    if (!reserve(jit, small ? 3 : 6))
        return;
    put8(jit, small ? 0x83 : 0x81);
    put_modrm(jit, MODRM_REGISTER, operation, to);
    if (small)
        put8(jit, (uint32_t)value);
    else
        put32(jit, (uint32_t)value);
}

void microjit_imul(struct microjit *jit, enum microjit_register to, enum microjit_register from) {
    if (!reserve(jit, 3))
        return;
    put8(jit, 0x0F);
    put_two_registers(jit, 0xAF, to, from);
}

void microjit_test(struct microjit *jit, enum microjit_register left, enum microjit_register right) {
    put_two_registers(jit, 0x85, right, left);
}

void microjit_push(struct microjit *jit, enum microjit_register from) {
    if (reserve(jit, 1))
        put8(jit, 0x50 | (from & 7));
}

void microjit_pop(struct microjit *jit, enum microjit_register to) {
    if (reserve(jit, 1))
        put8(jit, 0x58 | (to & 7));
}

void microjit_ret(struct microjit *jit) {
    if (reserve(jit, 1))
        put8(jit, 0xC3);
}

/* A displacement counts from the end of the jump. */
static void put_jump(struct microjit *jit, uint32_t short_opcode, const uint8_t *near_opcode, size_t near_opcode_bytes,
                     struct microjit_label *to) {
    if (to->bound) {
        int32_t displacement = (int32_t)(to->position - jit->length) - 2;
        if (fits8(displacement)) {
            if (!reserve(jit, 2))
                return;
            put8(jit, short_opcode);
            put8(jit, (uint32_t)displacement);
            return;
        }
    }
    if (!to->bound && to->uses == MICROJIT_LABEL_USES) {
        jit->failed = true;
        return;
    }
    if (!reserve(jit, near_opcode_bytes + 4))
        return;
    for (size_t i = 0; i < near_opcode_bytes; i++)
        put8(jit, near_opcode[i]);
    if (to->bound) {
        put32(jit, (uint32_t)(to->position - (jit->length + 4)));
    } else {
        to->waiting[to->uses++] = jit->length;
        put32(jit, 0);
    }
}

void microjit_jmp(struct microjit *jit, struct microjit_label *to) {
    put_jump(jit, 0xEB, (const uint8_t[]){0xE9}, 1, to);
}

void microjit_jcc(struct microjit *jit, enum microjit_condition condition, struct microjit_label *to) {
    uint8_t code = condition & 15;
    put_jump(jit, 0x70 | code, (const uint8_t[]){0x0F, 0x80 | code}, 2, to);
}

void microjit_bind(struct microjit *jit, struct microjit_label *label) {
    if (label->bound || jit->failed) {
        jit->failed = true;
        return;
    }
    label->bound = true;
    label->position = jit->length;
    for (uint32_t i = 0; i < label->uses; i++)
        write32(jit->buffer + label->waiting[i], (uint32_t)(jit->length - (label->waiting[i] + 4)));
    label->uses = 0;
}
