/* Bitcode modules: LLVM bitcode behind a 128-byte header (stock_kernel.h), which the host's compiler asks for. */
#include "disk.h"

#define MAX_PAYLOAD (1u << 20)
#define HEADER ((uint32_t)sizeof(bitcode_header_t))

static const uint8_t payload_magic[4] = {0x42, 0x43, 0xC0, 0xDE};

static bool has_end(const char *name, uint32_t size) {
    for (uint32_t i = 0; i < size; i++)
        if (name[i] == 0)
            return i != 0;
    return false;
}

/* Where the payload begins; `size` when it is nowhere. Headers in the field have 120, 124 or 128 bytes. */
static uint32_t find_payload(const uint8_t *bytes, uint32_t size) {
    for (uint32_t at = HEADER - 8; at + sizeof payload_magic <= size && at <= HEADER; at += 4)
        if (memcmp(bytes + at, payload_magic, sizeof payload_magic) == 0)
            return at;
    return size;
}

/* What is wrong with it, NULL if nothing. */
const char *bitcode_validate(const void *bytes, uint32_t size) {
    const bitcode_header_t *header = bytes;

    if (size < HEADER)
        return "the file is shorter than its header";
    if (header->magic != BITCODE_MAGIC)
        return "Invalid bitcode magic";
    if (!has_end(header->module_name, sizeof header->module_name))
        return "the module's name is empty or has no end";
    if (!has_end(header->entry_name, sizeof header->entry_name))
        return "the entry's name is empty or has no end";
    if (header->bitcode_size == 0 || header->bitcode_size > MAX_PAYLOAD)
        return "the payload must have 1 byte to 1 MiB";
    if (header->opt_level >= BF_LEVELS)
        return "unknown optimisation level";
    uint32_t payload = find_payload(bytes, size);
    if (payload == size)
        return "no LLVM bitcode (42 43 C0 DE) behind the header";
    if (payload != HEADER)
        return "the payload begins before byte 128: the header is an old, shorter one";
    return header->bitcode_size <= size - HEADER ? NULL : "the file is shorter than its header says";
}

/*
 * Reads a module's NAME.BC from disk into the DATA pool; false, with a line unless there is no disk or no such file.
 * bitcode_free gives the memory back.
 */
bool bitcode_load(uint32_t module, bf_ptr *bitcode, uint32_t *bytes) {
    const char *name = module_manager.modules[module].name;
    char file[13];

    disk_name(file, name, "BC");
    if (disk_file_size(file) < 0)
        return false;
    int32_t size = disk_read_new(file, BF_OWNER_FILE, module, bitcode);
    if (size < 0)
        return false;
    const bitcode_header_t *header = (const bitcode_header_t *)*bitcode;
    const char *wrong = bitcode_validate(header, (uint32_t)size);
    if (wrong == NULL && strcmp(header->module_name, name) != 0)
        wrong = "it is another module's";
    if (wrong != NULL) {
        kprintf("[BITCODE] %s refused: %s\n", file, wrong);
        bitcode_free(*bitcode);
        return false;
    }
    *bytes = HEADER + header->bitcode_size;
    return true;
}

void bitcode_free(bf_ptr bitcode) {
    pool_free(BF_POOL_DATA, bitcode);
}
