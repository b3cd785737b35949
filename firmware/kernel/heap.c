/* The bump heap, 256 KB at 0x100000. Memory is handed out once and never taken back. */
#include "defs.h"

#define ALIGNMENT 16

uint32_t heap_offset;

void *malloc(size_t size) {
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded < size || rounded > BF_HEAP_SIZE - heap_offset) {
        kprintf("[heap] malloc(%u) failed: %u of %u bytes left\n", (uint32_t)size,
                BF_HEAP_SIZE - heap_offset, (uint32_t)BF_HEAP_SIZE);
        return NULL;
    }
    void *block = (void *)(BF_HEAP_BASE + heap_offset);
    heap_offset += rounded;
    return block;
}

void *calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *block = malloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

/* A no-op: a bump heap cannot give one block back. */
void free(void *pointer) {
    (void)pointer;
}

size_t heap_free_bytes(void) {
    return BF_HEAP_SIZE - heap_offset;
}
