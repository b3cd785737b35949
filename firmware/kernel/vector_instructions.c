/*
 * Which SSE and AVX instructions are there, and what must a CPU have for each? Those that compilers make of plain code:
 * without MMX registers, FMA, gathers, and what sets MXCSR. (Intel SDM vol. 2: chapter 2.3, VEX; appendix A, opcode maps.)
 */
#include "defs.h"

#include "instructions.h"

/* The opcode map is named by `map`: 0F, 0F 38, 0F 3A; the prefix before it tells four instructions apart. */
#define NP 0
#define P66 1
#define PF3 2
#define PF2 3
#define FORM(map, prefix) ((map) << 2 | (prefix))

enum operand {
    ANY,
    MEMORY,
    REGISTER
};

#define SSE BF_FEATURE_SSE
#define SSE2 BF_FEATURE_SSE2
#define SSE3 BF_FEATURE_SSE3
#define SSSE3 BF_FEATURE_SSSE3
#define SSE4_1 BF_FEATURE_SSE4_1
#define SSE4_2 BF_FEATURE_SSE4_2
#define AVX BF_FEATURE_AVX
#define AVX2 BF_FEATURE_AVX2

/* What each form needs, 0 = there is none: with legacy encoding, with VEX on 128 bits or a scalar, with VEX on 256. */
struct range {
    uint8_t form;
    uint8_t first;
    uint8_t last;
    uint8_t legacy;
    uint8_t vex128;
    uint8_t vex256;
    uint8_t operand;            /* enum operand: what ModRM may name */
};

static const struct range ranges[] = {
    {FORM(1, NP), 0x10, 0x11, SSE, AVX, AVX, ANY}, {FORM(1, NP), 0x12, 0x12, SSE, AVX, 0, ANY},
    {FORM(1, NP), 0x13, 0x13, SSE, AVX, 0, MEMORY}, {FORM(1, NP), 0x14, 0x15, SSE, AVX, AVX, ANY},
    {FORM(1, NP), 0x16, 0x16, SSE, AVX, 0, ANY}, {FORM(1, NP), 0x17, 0x17, SSE, AVX, 0, MEMORY},
    {FORM(1, NP), 0x28, 0x29, SSE, AVX, AVX, ANY}, {FORM(1, NP), 0x2B, 0x2B, SSE, AVX, AVX, MEMORY},
    {FORM(1, NP), 0x2E, 0x2F, SSE, AVX, 0, ANY}, {FORM(1, NP), 0x50, 0x50, SSE, AVX, AVX, REGISTER},
    {FORM(1, NP), 0x51, 0x59, SSE, AVX, AVX, ANY}, {FORM(1, NP), 0x5A, 0x5B, SSE2, AVX, AVX, ANY},
    {FORM(1, NP), 0x5C, 0x5F, SSE, AVX, AVX, ANY}, {FORM(1, NP), 0xC2, 0xC2, SSE, AVX, AVX, ANY},
    {FORM(1, NP), 0xC6, 0xC6, SSE, AVX, AVX, ANY},

    {FORM(1, P66), 0x10, 0x11, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0x12, 0x13, SSE2, AVX, 0, MEMORY},
    {FORM(1, P66), 0x14, 0x15, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0x16, 0x17, SSE2, AVX, 0, MEMORY},
    {FORM(1, P66), 0x28, 0x29, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0x2B, 0x2B, SSE2, AVX, AVX, MEMORY},
    {FORM(1, P66), 0x2E, 0x2F, SSE2, AVX, 0, ANY}, {FORM(1, P66), 0x50, 0x50, SSE2, AVX, AVX, REGISTER},
    {FORM(1, P66), 0x51, 0x51, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0x54, 0x5F, SSE2, AVX, AVX, ANY},
    {FORM(1, P66), 0x60, 0x6D, SSE2, AVX, AVX2, ANY}, {FORM(1, P66), 0x6E, 0x6E, SSE2, AVX, 0, ANY},
    {FORM(1, P66), 0x6F, 0x6F, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0x70, 0x70, SSE2, AVX, AVX2, ANY},
    {FORM(1, P66), 0x71, 0x73, SSE2, AVX, AVX2, REGISTER}, {FORM(1, P66), 0x74, 0x76, SSE2, AVX, AVX2, ANY},
    {FORM(1, P66), 0x7C, 0x7D, SSE3, AVX, AVX, ANY}, {FORM(1, P66), 0x7E, 0x7E, SSE2, AVX, 0, ANY},
    {FORM(1, P66), 0x7F, 0x7F, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0xC2, 0xC2, SSE2, AVX, AVX, ANY},
    {FORM(1, P66), 0xC4, 0xC4, SSE2, AVX, 0, ANY}, {FORM(1, P66), 0xC5, 0xC5, SSE2, AVX, 0, REGISTER},
    {FORM(1, P66), 0xC6, 0xC6, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0xD0, 0xD0, SSE3, AVX, AVX, ANY},
    {FORM(1, P66), 0xD1, 0xD5, SSE2, AVX, AVX2, ANY}, {FORM(1, P66), 0xD6, 0xD6, SSE2, AVX, 0, ANY},
    {FORM(1, P66), 0xD7, 0xD7, SSE2, AVX, AVX2, REGISTER}, {FORM(1, P66), 0xD8, 0xE5, SSE2, AVX, AVX2, ANY},
    {FORM(1, P66), 0xE6, 0xE6, SSE2, AVX, AVX, ANY}, {FORM(1, P66), 0xE7, 0xE7, SSE2, AVX, AVX, MEMORY},
    {FORM(1, P66), 0xE8, 0xEF, SSE2, AVX, AVX2, ANY}, {FORM(1, P66), 0xF1, 0xF6, SSE2, AVX, AVX2, ANY},
    {FORM(1, P66), 0xF8, 0xFE, SSE2, AVX, AVX2, ANY},

    {FORM(1, PF3), 0x10, 0x11, SSE, AVX, 0, ANY}, {FORM(1, PF3), 0x12, 0x12, SSE3, AVX, AVX, ANY},
    {FORM(1, PF3), 0x16, 0x16, SSE3, AVX, AVX, ANY}, {FORM(1, PF3), 0x2A, 0x2A, SSE, AVX, 0, ANY},
    {FORM(1, PF3), 0x2C, 0x2D, SSE, AVX, 0, ANY}, {FORM(1, PF3), 0x51, 0x53, SSE, AVX, 0, ANY},
    {FORM(1, PF3), 0x58, 0x59, SSE, AVX, 0, ANY}, {FORM(1, PF3), 0x5A, 0x5A, SSE2, AVX, 0, ANY},
    {FORM(1, PF3), 0x5B, 0x5B, SSE2, AVX, AVX, ANY}, {FORM(1, PF3), 0x5C, 0x5F, SSE, AVX, 0, ANY},
    {FORM(1, PF3), 0x6F, 0x6F, SSE2, AVX, AVX, ANY}, {FORM(1, PF3), 0x70, 0x70, SSE2, AVX, AVX2, ANY},
    {FORM(1, PF3), 0x7E, 0x7E, SSE2, AVX, 0, ANY}, {FORM(1, PF3), 0x7F, 0x7F, SSE2, AVX, AVX, ANY},
    {FORM(1, PF3), 0xC2, 0xC2, SSE, AVX, 0, ANY}, {FORM(1, PF3), 0xE6, 0xE6, SSE2, AVX, AVX, ANY},

    {FORM(1, PF2), 0x10, 0x11, SSE2, AVX, 0, ANY}, {FORM(1, PF2), 0x12, 0x12, SSE3, AVX, AVX, ANY},
    {FORM(1, PF2), 0x2A, 0x2A, SSE2, AVX, 0, ANY}, {FORM(1, PF2), 0x2C, 0x2D, SSE2, AVX, 0, ANY},
    {FORM(1, PF2), 0x51, 0x51, SSE2, AVX, 0, ANY}, {FORM(1, PF2), 0x58, 0x5A, SSE2, AVX, 0, ANY},
    {FORM(1, PF2), 0x5C, 0x5F, SSE2, AVX, 0, ANY}, {FORM(1, PF2), 0x70, 0x70, SSE2, AVX, AVX2, ANY},
    {FORM(1, PF2), 0x7C, 0x7D, SSE3, AVX, AVX, ANY}, {FORM(1, PF2), 0xC2, 0xC2, SSE2, AVX, 0, ANY},
    {FORM(1, PF2), 0xD0, 0xD0, SSE3, AVX, AVX, ANY}, {FORM(1, PF2), 0xE6, 0xE6, SSE2, AVX, AVX, ANY},
    {FORM(1, PF2), 0xF0, 0xF0, SSE3, AVX, AVX, MEMORY},

    {FORM(2, P66), 0x00, 0x0B, SSSE3, AVX, AVX2, ANY}, {FORM(2, P66), 0x0C, 0x0F, 0, AVX, AVX, ANY},
    {FORM(2, P66), 0x10, 0x10, SSE4_1, 0, 0, ANY}, {FORM(2, P66), 0x14, 0x15, SSE4_1, 0, 0, ANY},
    {FORM(2, P66), 0x16, 0x16, 0, 0, AVX2, ANY}, {FORM(2, P66), 0x17, 0x17, SSE4_1, AVX, AVX, ANY},
    {FORM(2, P66), 0x18, 0x18, 0, AVX, AVX, MEMORY}, {FORM(2, P66), 0x18, 0x18, 0, AVX2, AVX2, REGISTER},
    {FORM(2, P66), 0x19, 0x19, 0, 0, AVX, MEMORY}, {FORM(2, P66), 0x19, 0x19, 0, 0, AVX2, REGISTER},
    {FORM(2, P66), 0x1A, 0x1A, 0, 0, AVX, MEMORY}, {FORM(2, P66), 0x1C, 0x1E, SSSE3, AVX, AVX2, ANY},
    {FORM(2, P66), 0x20, 0x25, SSE4_1, AVX, AVX2, ANY}, {FORM(2, P66), 0x28, 0x29, SSE4_1, AVX, AVX2, ANY},
    {FORM(2, P66), 0x2A, 0x2A, SSE4_1, AVX, AVX2, MEMORY}, {FORM(2, P66), 0x2B, 0x2B, SSE4_1, AVX, AVX2, ANY},
    {FORM(2, P66), 0x2C, 0x2F, 0, AVX, AVX, MEMORY}, {FORM(2, P66), 0x30, 0x35, SSE4_1, AVX, AVX2, ANY},
    {FORM(2, P66), 0x36, 0x36, 0, 0, AVX2, ANY}, {FORM(2, P66), 0x37, 0x37, SSE4_2, AVX, AVX2, ANY},
    {FORM(2, P66), 0x38, 0x40, SSE4_1, AVX, AVX2, ANY}, {FORM(2, P66), 0x41, 0x41, SSE4_1, AVX, 0, ANY},
    {FORM(2, P66), 0x45, 0x47, 0, AVX2, AVX2, ANY}, {FORM(2, P66), 0x58, 0x59, 0, AVX2, AVX2, ANY},
    {FORM(2, P66), 0x5A, 0x5A, 0, 0, AVX2, MEMORY}, {FORM(2, P66), 0x78, 0x79, 0, AVX2, AVX2, ANY},
    {FORM(2, P66), 0x8C, 0x8C, 0, AVX2, AVX2, MEMORY}, {FORM(2, P66), 0x8E, 0x8E, 0, AVX2, AVX2, MEMORY},

    {FORM(3, P66), 0x00, 0x01, 0, 0, AVX2, ANY}, {FORM(3, P66), 0x02, 0x02, 0, AVX2, AVX2, ANY},
    {FORM(3, P66), 0x04, 0x05, 0, AVX, AVX, ANY}, {FORM(3, P66), 0x06, 0x06, 0, 0, AVX, ANY},
    {FORM(3, P66), 0x08, 0x09, SSE4_1, AVX, AVX, ANY}, {FORM(3, P66), 0x0A, 0x0B, SSE4_1, AVX, 0, ANY},
    {FORM(3, P66), 0x0C, 0x0D, SSE4_1, AVX, AVX, ANY}, {FORM(3, P66), 0x0E, 0x0E, SSE4_1, AVX, AVX2, ANY},
    {FORM(3, P66), 0x0F, 0x0F, SSSE3, AVX, AVX2, ANY}, {FORM(3, P66), 0x14, 0x17, SSE4_1, AVX, 0, ANY},
    {FORM(3, P66), 0x18, 0x19, 0, 0, AVX, ANY}, {FORM(3, P66), 0x20, 0x22, SSE4_1, AVX, 0, ANY},
    {FORM(3, P66), 0x38, 0x39, 0, 0, AVX2, ANY}, {FORM(3, P66), 0x40, 0x40, SSE4_1, AVX, AVX, ANY},
    {FORM(3, P66), 0x41, 0x41, SSE4_1, AVX, 0, ANY}, {FORM(3, P66), 0x42, 0x42, SSE4_1, AVX, AVX2, ANY},
    {FORM(3, P66), 0x46, 0x46, 0, 0, AVX2, ANY}, {FORM(3, P66), 0x4A, 0x4B, 0, AVX, AVX, ANY},
    {FORM(3, P66), 0x4C, 0x4C, 0, AVX, AVX2, ANY}, {FORM(3, P66), 0x60, 0x63, SSE4_2, AVX, 0, ANY},
};

/* The shifts by a constant: /2, /4, /6, and of 73 also those of whole registers, /3 and /7. */
static bool is_shift(uint8_t opcode, uint8_t modrm) {
    uint32_t which = 1u << (modrm >> 3 & 7);

    return (which & (opcode == 0x73 ? 0xCC : 0x54)) != 0;
}

static bool has_immediate(const struct vector_opcode *it) {
    return it->map == 3 || (it->map == 1 && ((it->opcode >= 0x70 && it->opcode <= 0x73) || it->opcode == 0xC2 ||
                                             (it->opcode >= 0xC4 && it->opcode <= 0xC6)));
}

/* The form with what the CPU has; 0 = none of it. */
static uint8_t needed(const struct range *range, const struct vector_opcode *it) {
    return !it->vex ? range->legacy : it->wide ? range->vex256 : range->vex128;
}

bool vector_instruction(const struct vector_opcode *it, uint8_t modrm, uint32_t features, bool *immediate) {
    bool memory = modrm < 0xC0;

    *immediate = has_immediate(it);
    for (uint32_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const struct range *range = &ranges[i];
        if (range->form != FORM(it->map, it->prefix) || it->opcode < range->first || it->opcode > range->last ||
            range->operand == (memory ? REGISTER : MEMORY))
            continue;
        if (it->map == 1 && it->opcode >= 0x71 && it->opcode <= 0x73 && !is_shift(it->opcode, modrm))
            return false;
        return (needed(range, it) & features) != 0;
    }
    return false;
}
