/* Which modules came with their bitcode: it lies in the section .bitcode, each with its header, 16-byte aligned. */
#include "stock.h"

#define ALIGNMENT 16

extern const uint8_t __bitcode_start[];
extern const uint8_t __bitcode_end[];

void bitcode_list(void) {
    const uint8_t *at = __bitcode_start;

    while (__bitcode_end - at > (int32_t)sizeof(bitcode_header_t)) {     /* the last one's end is rounded up, too */
        const bitcode_header_t *header = (const bitcode_header_t *)at;
        if (header->magic != BITCODE_MAGIC || header->bitcode_size > (size_t)(__bitcode_end - at)) {
            terminal_printf("[ERROR] Invalid bitcode magic\n");
            return;
        }
        terminal_printf("[BITCODE] %s: entry %s, %u bytes, O%u\n", header->module_name, header->entry_name,
                        header->bitcode_size, header->opt_level);
        uint32_t bytes = (uint32_t)sizeof *header + header->bitcode_size;
        at += (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1u);
    }
}
