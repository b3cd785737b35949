/* The bump heap: an array in .bss. Memory is handed out once and never taken back. */
#include "stock.h"

#define HEAP_SIZE 0x40000
#define ALIGNMENT 16

static uint8_t heap[HEAP_SIZE] __attribute__((aligned(4096)));
uint32_t heap_offset;

void *malloc(size_t size) {
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (rounded < size || rounded > HEAP_SIZE - heap_offset) {
        terminal_printf("[ERROR] Heap: %u bytes wanted, %u left\n", (uint32_t)size, HEAP_SIZE - heap_offset);
        return NULL;
    }
    void *block = &heap[heap_offset];
    heap_offset += rounded;
    return block;
}

/* A no-op: a bump heap cannot give one block back. */
void free(void *pointer) {
    (void)pointer;
}
