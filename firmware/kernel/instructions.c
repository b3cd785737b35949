/*
 * Are these bytes instructions that an i686 without MMX executes, with no vector instructions but those of `features`?
 * What it does not is an invalid opcode at the first call, and ends the run. (Intel SDM vol. 2: chapter 2, formats;
 * appendix A, opcode maps; B.17, the x87.)
 */
#include "defs.h"

#include "instructions.h"

#define LONGEST 15

/*
 * What follows an opcode: '.' nothing, 'b' a byte, 'w' two, 'v' as many as an operand has, 'e' three (ENTER), 'f' a far
 * pointer, 'a' as many as an address has; 'm' ModRM, 'M' ModRM and a byte, 'V' ModRM and an operand, 'k' ModRM that
 * means memory. 'p' is a prefix, 'x' no instruction of this CPU.
 */
static const char one_byte[] =
    "mmmmbv..mmmmbv.x" "mmmmbv..mmmmbv.." "mmmmbvp.mmmmbvp." "mmmmbvp.mmmmbvp."    /* 00 */
    "................" "................" "..kmppppvVbM...." "bbbbbbbbbbbbbbbb"    /* 40 */
    "MVMMmmmmmmmmmkmm" "..........f....." "aaaa....bv......" "bbbbbbbbvvvvvvvv"    /* 80 */
    "MMw.kkMVe.w..b.." "mmmmbb..mmmmmmmm" "bbbbbbbbvvfb...." "p.pp..mm......mm";   /* C0 */

/* After 0F: no SYSCALL, SYSENTER, prefetches, FXSAVE, POPCNT, nor what has an MMX or XMM register. */
static const char two_byte[] =
    "mmmmxx.x..x.xxxx" "xxxxxxxxmmxxmmmm" "mmmmxxxxxxxxxxxx" "....xxxxxxxxxxxx"
    "mmmmmmmmmmmmmmmm" "xxxxxxxxxxxxxxxx" "xxxxxxxxxxxxxxxx" "xxxxxxxxxxxxxxxx"
    "vvvvvvvvvvvvvvvv" "mmmmmmmmmmmmmmmm" "...mMmxx...mMmxm" "mmkmkkmmxmMmmmmm"
    "mmxxxxxk........" "xxxxxxxxxxxxxxxx" "xxxxxxxxxxxxxxxx" "xxxxxxxxxxxxxxxm";

/* D8 to DF: bit n is the second byte C0 + n. */
static const uint64_t x87_registers[8] = {
    0xFFFFFFFFFFFFFFFF, 0xFFFF7F33FF01FFFF, 0x00000200FFFFFFFF, 0x00FFFF1FFFFFFFFF,
    0xFFFFFFFFFFFFFFFF, 0x0000FFFFFFFFFFFF, 0xFFFFFFFF02FFFFFF, 0x00FFFF01FFFFFFFF,
};
/* D8 to DF with memory: bit n is /n; FISTTP is of SSE3. */
static const uint8_t x87_memory[8] = {0xFF, 0xFD, 0xFF, 0xAD, 0xFF, 0xDD, 0xFF, 0xFD};

struct instruction {
    uint32_t opcode;            /* 0x100 more after 0F */
    uint32_t operand;           /* bytes of an immediate operand */
    uint32_t address;           /* bytes of an address */
    bool repeated;              /* F3 before it */
    uint8_t prefix;             /* as in struct vector_opcode */
};

static uint8_t byte_at(const uint8_t *code, uint32_t size, uint32_t at) {
    return at < size ? code[at] : 0;
}

static bool is_in(uint32_t set, uint32_t member) {
    return (set >> member & 1) != 0;
}

/* Of the opcodes that ModRM completes, and of those that a prefix makes another instruction. */
static bool exists(const struct instruction *it, uint8_t modrm) {
    uint32_t reg = modrm >> 3 & 7;
    bool memory = modrm < 0xC0;

    switch (it->opcode) {
    case 0x8F: case 0xC6: case 0xC7: return reg == 0;
    case 0xFE: return reg <= 1;
    case 0xFF: return reg <= 6 && (memory || (reg != 3 && reg != 5));
    case 0x100: return reg <= 5;
    case 0x101: return reg != 5 && (memory || reg == 4 || reg == 6);
    case 0x118: case 0x1BA: return reg >= 4;
    case 0x1BD: return !it->repeated;   /* LZCNT */
    case 0x1C7: return reg == 1;
    default: break;
    }
    if (it->opcode < 0xD8 || it->opcode > 0xDF)
        return true;
    return memory ? is_in(x87_memory[it->opcode - 0xD8], reg)
                  : (x87_registers[it->opcode - 0xD8] >> (modrm - 0xC0) & 1) != 0;
}

/* Bytes after ModRM that its address takes; `sib` is the byte after it. */
static uint32_t displacement(const struct instruction *it, uint8_t modrm, uint8_t sib) {
    uint32_t mod = modrm >> 6;
    uint32_t rm = modrm & 7;

    if (mod == 3 || (it->opcode >= 0x120 && it->opcode <= 0x123))   /* MOV to and from CR and DR */
        return 0;
    if (it->address == 2)
        return mod == 0 ? (rm == 6 ? 2 : 0) : mod;
    uint32_t more = rm == 4 ? 1 : 0;
    if (mod == 0)
        return more + (rm == 5 || (rm == 4 && (sib & 7) == 5) ? 4 : 0);
    return more + (mod == 1 ? 1 : 4);
}

/* VEX: C5 and a byte, or C4 and two, of which a register's ModRM would make no LES or LDS (chapter 2.3.5). */
static uint32_t take_vex(const uint8_t *code, uint32_t left, uint32_t at, struct vector_opcode *vector) {
    bool three = code[at] == 0xC4;
    uint8_t last = byte_at(code, left, at + (three ? 2 : 1));

    vector->vex = true;
    vector->map = three ? byte_at(code, left, at + 1) & 0x1F : 1;
    vector->prefix = last & 3;
    vector->wide = (last & 4) != 0;
    return at + (three ? 3 : 2);
}

/* The bytes of the vector instruction whose prefixes end at `at`; 0 = it is none. */
static uint32_t vector_length(const uint8_t *code, uint32_t left, uint32_t at, const struct instruction *it,
                              uint32_t features) {
    struct vector_opcode vector = {.map = 1, .prefix = it->prefix};
    bool immediate;

    if (at < left && (code[at] & 0xFE) == 0xC4 && byte_at(code, left, at + 1) >= 0xC0) {
        if (it->prefix != 0)
            return 0;
        at = take_vex(code, left, at, &vector);
    } else if (byte_at(code, left, at) == 0x0F) {
        uint8_t second = byte_at(code, left, ++at);
        if (second == 0x38 || second == 0x3A) {
            vector.map = second == 0x38 ? 2 : 3;
            at++;
        }
    } else {
        return 0;
    }
    vector.opcode = byte_at(code, left, at++);
    if (vector.vex && vector.map == 1 && vector.prefix == 0 && vector.opcode == 0x77)   /* VZEROUPPER, VZEROALL */
        return (features & BF_FEATURE_AVX) != 0 ? at : 0;
    uint8_t modrm = byte_at(code, left, at++);
    if (!vector_instruction(&vector, modrm, features, &immediate))
        return 0;
    at += displacement(it, modrm, byte_at(code, left, at)) + (immediate ? 1 : 0);
    return at <= LONGEST ? at : 0;
}

/* 0 = it is none; more than `left` = the end cuts it off. */
static uint32_t length(const uint8_t *code, uint32_t left, uint32_t features) {
    struct instruction it = {.operand = 4, .address = 4};
    uint32_t at = 0;

    while (one_byte[byte_at(code, left, at)] == 'p') {
        it.operand = code[at] == 0x66 ? 2 : it.operand;
        it.address = code[at] == 0x67 ? 2 : it.address;
        it.repeated |= code[at] == 0xF3;
        /* Of these the last counts; 66 beside one of them is an operand size. */
        if (code[at] == 0xF2 || code[at] == 0xF3)
            it.prefix = code[at] == 0xF3 ? 2 : 3;
        else if (code[at] == 0x66 && it.prefix == 0)
            it.prefix = 1;
        at++;
    }
    if (features != 0) {
        uint32_t vector = vector_length(code, left, at, &it, features);
        if (vector != 0)
            return vector;
    }
    const char *map = one_byte;
    if (byte_at(code, left, at) == 0x0F) {
        it.opcode = 0x100;
        map = two_byte;
        at++;
    }
    uint8_t last = byte_at(code, left, at++);
    char shape = map[last];
    it.opcode += last;
    if (shape == 'm' || shape == 'M' || shape == 'V' || shape == 'k') {
        uint8_t modrm = byte_at(code, left, at++);
        if ((shape == 'k' && modrm >= 0xC0) || !exists(&it, modrm))
            return 0;
        at += displacement(&it, modrm, byte_at(code, left, at));
        if ((it.opcode == 0xF6 || it.opcode == 0xF7) && (modrm >> 3 & 7) <= 1)
            shape = it.opcode == 0xF6 ? 'M' : 'V';
    }
    switch (shape) {
    case 'b': case 'M': at += 1; break;
    case 'w': at += 2; break;
    case 'e': at += 3; break;
    case 'v': case 'V': at += it.operand; break;
    case 'f': at += it.operand + 2; break;
    case 'a': at += it.address; break;
    case 'x': return 0;
    default: break;
    }
    return at <= LONGEST ? at : 0;
}

/* Where the first bytes are that are none, `size` = nowhere. What the end cuts off is not judged. */
uint32_t instructions_end(const uint8_t *code, uint32_t size, uint32_t features) {
    uint32_t at = 0;

    while (at < size) {
        uint32_t bytes = length(code + at, size - at, features);
        if (bytes == 0)
            return at;
        at = bytes < size - at ? at + bytes : size;
    }
    return size;
}
