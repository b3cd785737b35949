/*
 * The pools as a field generation has them: `free_list` heads a list of ALL blocks and never leaves the base,
 * statistics count payloads without headers, fragmentation is bytes and loses 16 at every join. A shutdown takes
 * base and `initialized` away and keeps the rest.
 */
#include "stock.h"

#define HEADER ((uint32_t)sizeof(block_header_t))
#define MINIMUM_BLOCK 32
#define SIZE_STEP 8

enum { CODE, DATA, METADATA };

memory_pool_t g_pools[3];

void jit_allocator_init(void) {
    static const uint32_t sizes[3] = {CODE_POOL_SIZE, DATA_POOL_SIZE, METADATA_POOL_SIZE};

    for (uint32_t i = 0; i < 3; i++) {
        uint8_t *base = malloc(sizes[i]);
        g_pools[i] = (memory_pool_t){.base = base, .total_size = sizes[i], .free_list = (block_header_t *)base,
                                     .stats = {.total = sizes[i], .free = sizes[i] - HEADER}, .initialized = 1};
        *g_pools[i].free_list =
            (block_header_t){.magic = BLOCK_MAGIC, .size = sizes[i] - HEADER, .is_free = 1};
    }
}

static void *allocate(uint32_t kind, uint32_t size) {
    memory_pool_t *pool = &g_pools[kind];
    block_header_t *block = pool->free_list;

    size = (size + SIZE_STEP - 1) & ~(SIZE_STEP - 1u);
    while (block != NULL && (!block->is_free || block->size < size))
        block = block->next;
    if (block == NULL) {
        serial_printf("pool allocation failed\n");
        return NULL;
    }
    if (block->size - size >= MINIMUM_BLOCK) {
        block_header_t *rest = (block_header_t *)((uint8_t *)(block + 1) + size);
        *rest = (block_header_t){
            .magic = BLOCK_MAGIC, .size = block->size - size - HEADER, .next = block->next, .is_free = 1};
        block->size = size;
        block->next = rest;
        pool->stats.free -= HEADER;
    }
    block->is_free = 0;
    pool->stats.used += block->size;
    pool->stats.free -= block->size;
    if (pool->stats.used > pool->stats.peak)
        pool->stats.peak = pool->stats.used;
    pool->stats.num_allocations++;
    return block + 1;
}

static void release(uint32_t kind, void *pointer) {
    memory_pool_t *pool = &g_pools[kind];
    block_header_t *block = (block_header_t *)pointer - 1;

    if (pointer == NULL || block->magic != BLOCK_MAGIC || block->is_free)
        return;
    block->is_free = 1;
    pool->stats.used -= block->size;
    pool->stats.free += block->size;
    pool->stats.num_deallocations++;
    for (block = pool->free_list; block != NULL; block = block->next)
        while (block->is_free && block->next != NULL && block->next->is_free) {
            block->size += HEADER + block->next->size;
            block->next = block->next->next;
            pool->stats.free += HEADER;
            pool->stats.fragmentation -= HEADER;
        }
}

void *jit_alloc_code(uint32_t size) {
    return allocate(CODE, size);
}

void *jit_alloc_data(uint32_t size) {
    return allocate(DATA, size);
}

void *jit_alloc_metadata(uint32_t size) {
    return allocate(METADATA, size);
}

void jit_free_code(void *pointer) {
    release(CODE, pointer);
}

void jit_free_data(void *pointer) {
    release(DATA, pointer);
}

void jit_free_metadata(void *pointer) {
    release(METADATA, pointer);
}

void jit_allocator_shutdown(void) {
    for (uint32_t i = 0; i < 3; i++) {
        g_pools[i].base = NULL;
        g_pools[i].initialized = 0;
    }
}
