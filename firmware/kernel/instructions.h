/* What the two files that judge machine code say to each other. */
#pragma once

/* An opcode that may be one of SSE or AVX. */
struct vector_opcode {
    uint8_t map;                /* 1 = 0F, 2 = 0F 38, 3 = 0F 3A */
    uint8_t prefix;             /* 0 none, 1 66, 2 F3, 3 F2 */
    uint8_t opcode;
    bool vex;
    bool wide;                  /* VEX.L: 256 bits */
};

/* vector_instructions.c: is it one, within these features? `immediate`: a byte follows its operand. */
bool vector_instruction(const struct vector_opcode *it, uint8_t modrm, uint32_t features, bool *immediate);
