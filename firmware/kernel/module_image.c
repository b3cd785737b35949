/* A module image (48-byte header, version 1 or 2; layout in bareflow.h) taken apart, checked, and placed. */
#include "defs.h"

#define HEADER ((uint32_t)sizeof(module_header_t))
#define DIGEST 32

static bool part_fits(uint32_t offset, uint32_t size, uint32_t whole) {
    return offset <= whole && size <= whole - offset;
}

/* It is printed: in lines of the log, by debuggers. */
static bool name_is_printable(const char *name) {
    for (const char *at = name; *at != 0; at++)
        if (*at <= ' ' || *at > '~')
            return false;
    return *name != 0;
}

/* The opcodes that clang uses with a memory operand at a fixed address: ModRM with mod 00 and rm 101 (Intel SDM 2A, 2.1). */
static bool takes_memory(uint8_t opcode) {
    return (opcode < 0x40 && (opcode & 7) < 4) || (opcode >= 0x80 && opcode <= 0x8D) || opcode == 0x69 ||
           opcode == 0x6B || opcode == 0xC6 || opcode == 0xC7 || (opcode >= 0xD8 && opcode <= 0xDF) ||
           opcode == 0xF6 || opcode == 0xF7 || opcode >= 0xFE;
}

/*
 * Version 1 has no relocations: an address in its code is relative to 0, where the BIOS keeps its data. Looked for
 * are instructions that address memory below the kernel.
 */
static bool has_absolute_reference(const uint8_t *code, uint32_t size) {
    for (uint32_t i = 0; i + 5 <= size; i++) {
        bool fixed = (code[i] & 0xC7) == 0x05 && i > 0 && takes_memory(code[i - 1]);
        bool accumulator = code[i] >= 0xA0 && code[i] <= 0xA3;
        uint32_t address;
        memcpy(&address, code + i + 1, sizeof address);
        if ((fixed || accumulator) && address < BF_IMAGE_BASE)
            return true;
    }
    return false;
}

static const char *open_version_1(struct module_image *image, uint32_t size) {
    /* Stock .mod files leave code_size 0: the code is the rest of the file. */
    uint32_t code_size = image->header->code_size != 0 ? image->header->code_size : size - HEADER;

    if (code_size == 0 || code_size > size - HEADER)
        return "the code is longer than the file";
    if (has_absolute_reference(image->body, code_size))
        return "header version 1 with absolute references; build it with version 2";
    image->tail = (struct bf_module_tail){.code_size = code_size, .magic = BF_MODULE_TAIL_MAGIC};
    return NULL;
}

static const char *open_version_2(struct module_image *image, uint32_t size) {
    uint32_t body_size = image->header->code_size;
    uint32_t fixed = HEADER + 2 * sizeof(uint32_t) + DIGEST;
    uint8_t digest[DIGEST];

    if (size < fixed || body_size > size - fixed || body_size < sizeof image->tail)
        return "the file is shorter than its header says";
    memcpy(&image->tail, image->body + body_size - sizeof image->tail, sizeof image->tail);
    const uint8_t *after = image->body + body_size;
    memcpy(&image->bss_size, after, sizeof image->bss_size);
    memcpy(&image->relocation_count, after + 4, sizeof image->relocation_count);
    image->relocations = (const uint32_t *)(after + 8);
    if (image->relocation_count != (size - fixed - body_size) / 4 || (size - fixed - body_size) % 4 != 0)
        return "the relocation count does not agree with the size";
    sha256(image->header, size - DIGEST, digest);
    if (memcmp(digest, (const uint8_t *)image->header + size - DIGEST, DIGEST) != 0)
        return "the SHA-256 does not match";

    const struct bf_module_tail *tail = &image->tail;
    uint32_t symbol_bytes = body_size / sizeof(struct bf_symbol) < tail->symbol_count
                                ? body_size + 1
                                : tail->symbol_count * sizeof(struct bf_symbol);
    if (tail->magic != BF_MODULE_TAIL_MAGIC || tail->code_size > body_size ||
        !part_fits(tail->rodata_offset, tail->rodata_size, body_size) ||
        !part_fits(tail->data_offset, tail->data_size, body_size) ||
        !part_fits(tail->symbols_offset, symbol_bytes, body_size) || image->bss_size > BF_POOL_DATA_SIZE)
        return "a part lies outside the image";

    uint32_t used = tail->symbols_offset + symbol_bytes;
    if (body_size - used >= sizeof image->call + sizeof *tail) {
        memcpy(&image->call, image->body + body_size - sizeof *tail - sizeof image->call, sizeof image->call);
        if (image->call.magic != BF_MODULE_CALL_MAGIC)
            memset(&image->call, 0, sizeof image->call);
    }
    return NULL;
}

/* What the code has that the CPU cannot execute, NULL if nothing. */
static const char *foreign_instruction(const struct module_image *image) {
    static char what[64];
    uint32_t size = image->tail.code_size;
    uint32_t at = instructions_end(image->body, size, 0);
    uint8_t bytes[4] = {0};

    if (at == size)
        return NULL;
    memcpy(bytes, image->body + at, size - at < sizeof bytes ? size - at : sizeof bytes);
    ksnprintf(what, sizeof what, "not for this CPU: code+0x%x has %02x %02x %02x %02x", at, bytes[0], bytes[1],
              bytes[2], bytes[3]);
    return what;
}

/* Returns what is wrong with the image, NULL if nothing. */
const char *module_image_open(struct module_image *image, const void *bytes, uint32_t size) {
    const char *wrong;

    memset(image, 0, sizeof *image);
    image->header = bytes;
    image->body = (const uint8_t *)bytes + HEADER;
    if (size < HEADER || image->header->magic != MODULE_MAGIC)
        return "Invalid module magic";
    if (image->header->name[sizeof image->header->name - 1] != 0)
        return "the name has no end";
    if (!name_is_printable(image->header->name))
        return "the name is empty, or not printable";
    if (image->header->version == 2)
        wrong = open_version_2(image, size);
    else if (image->header->version == 1)
        wrong = open_version_1(image, size);
    else
        wrong = "unknown header version";
    if (wrong != NULL)
        return wrong;
    image->entry_offset = image->header->entry_point - HEADER;
    if (image->entry_offset >= image->tail.code_size)
        return "the entry lies outside the code";
    return foreign_instruction(image);
}

/* Returns what is wrong when the image says that it is of another tier; an older one says nothing. */
const char *module_image_tier(const struct module_image *image, uint32_t level) {
    return image->tail.tier == 0 || image->tail.tier == level + 1 ? NULL : "it is the code of another tier";
}

static bf_ptr base_of(uint32_t base, const struct module_parts *parts, bf_ptr data) {
    return base == BF_RELOC_CODE ? parts->code : base == BF_RELOC_DATA ? data : parts->rodata;
}

/* Applies the relocations of one part, which has been copied to `to`. */
static bool relocate(const struct module_image *image, uint32_t offset, uint32_t size, bf_ptr to,
                     const struct module_parts *parts, bf_ptr data) {
    for (uint32_t i = 0; i < image->relocation_count; i++) {
        uint32_t at = image->relocations[i] & BF_RELOC_OFFSET_MASK;
        bf_ptr base = base_of(image->relocations[i] >> BF_RELOC_BASE_SHIFT, parts, data);
        if (at < offset || at >= offset + size)
            continue;
        if (size - (at - offset) < 4 || base == 0)
            return false;
        uint32_t word;
        memcpy(&word, (const void *)(to + at - offset), 4);
        word += base;
        memcpy((void *)(to + at - offset), &word, 4);
    }
    return true;
}

/* Code and read-only data of the image get blocks of `owner`; false = nothing was kept. */
bool module_image_place(const struct module_image *image, bf_ptr data, uint32_t owner_kind, uint32_t owner,
                        struct module_parts *parts) {
    const struct bf_module_tail *tail = &image->tail;

    *parts = (struct module_parts){0};
    parts->code = pool_alloc(BF_POOL_CODE, tail->code_size, owner_kind, owner);
    if (parts->code == 0)
        return false;
    if (tail->rodata_size != 0) {
        parts->rodata = pool_alloc(BF_POOL_DATA, tail->rodata_size, owner_kind, owner);
        if (parts->rodata == 0)
            goto give_up;
        memcpy((void *)parts->rodata, image->body + tail->rodata_offset, tail->rodata_size);
    }
    memcpy((void *)parts->code, image->body, tail->code_size);
    if (!relocate(image, 0, tail->code_size, parts->code, parts, data) ||
        !relocate(image, tail->rodata_offset, tail->rodata_size, parts->rodata, parts, data))
        goto give_up;
    parts->entry = parts->code + image->entry_offset;
    return true;

give_up:
    pool_free(BF_POOL_CODE, parts->code);
    if (parts->rodata != 0)
        pool_free(BF_POOL_DATA, parts->rodata);
    *parts = (struct module_parts){0};
    return false;
}

/* The one writable data area of a module: .data, then zeros. 0 = no memory, or no data to place. */
bf_ptr module_image_place_data(const struct module_image *image, uint32_t owner_kind, uint32_t owner) {
    const struct bf_module_tail *tail = &image->tail;
    uint32_t size = tail->data_size + image->bss_size;
    struct module_parts none = {0};

    if (size == 0)
        return 0;
    bf_ptr data = pool_alloc(BF_POOL_DATA, size, owner_kind, owner);
    if (data == 0)
        return 0;
    memcpy((void *)data, image->body + tail->data_offset, tail->data_size);
    memset((void *)(data + tail->data_size), 0, image->bss_size);
    if (!relocate(image, tail->data_offset, tail->data_size, data, &none, data)) {
        pool_free(BF_POOL_DATA, data);
        return 0;
    }
    return data;
}

/* All versions of a function share one copy of its data: only images that agree on it can follow one another. */
bool module_image_same_data(const struct module_image *a, const struct module_image *b) {
    return a->tail.data_size == b->tail.data_size && a->bss_size == b->bss_size &&
           a->tail.symbol_count == b->tail.symbol_count &&
           memcmp(a->body + a->tail.symbols_offset, b->body + b->tail.symbols_offset,
                  a->tail.symbol_count * sizeof(struct bf_symbol)) == 0;
}
