/*
 * The three JIT pools inside the bump heap: first fit over a free list in address order, with a 16-byte header
 * before every block. In the statistics a block counts with its header.
 */
#include "stock.h"

#define HEADER ((uint32_t)sizeof(block_header_t))
#define MINIMUM_BLOCK 32
#define SIZE_STEP 8

enum { CODE, DATA, METADATA };

memory_pool_t g_pools[3];

static const char *const pool_names[3] = {"CODE", "DATA", "METADATA"};
static const uint32_t pool_sizes[3] = {CODE_POOL_SIZE, DATA_POOL_SIZE, METADATA_POOL_SIZE};

static void count_free(memory_pool_t *pool) {
    uint32_t free = 0;
    uint32_t largest = 0;

    for (const block_header_t *block = pool->free_list; block != NULL; block = block->next) {
        uint32_t bytes = block->size + HEADER;
        free += bytes;
        if (bytes > largest)
            largest = bytes;
    }
    pool->stats.free = free;
    pool->stats.used = pool->stats.total - free;
    if (pool->stats.used > pool->stats.peak)
        pool->stats.peak = pool->stats.used;
    pool->stats.fragmentation = free == 0 ? 0 : (free - largest) * 100 / free;
}

void jit_allocator_init(void) {
    for (uint32_t i = 0; i < 3; i++) {
        memory_pool_t *pool = &g_pools[i];
        uint8_t *base = malloc(pool_sizes[i]);
        if (base == NULL)
            continue;               /* malloc has said so; allocations are refused */
        *pool = (memory_pool_t){.base = base, .total_size = pool_sizes[i], .free_list = (block_header_t *)base,
                                .stats = {.total = pool_sizes[i]}, .initialized = 1};
        *pool->free_list = (block_header_t){.magic = BLOCK_MAGIC, .size = pool_sizes[i] - HEADER, .is_free = 1};
        count_free(pool);
    }
}

/* Cuts what is more than `size` off the end of a free block; what follows it in the free list is returned. */
static block_header_t *split(block_header_t *block, uint32_t size) {
    uint32_t rest = block->size - size;

    if (rest < MINIMUM_BLOCK)
        return block->next;
    block_header_t *cut = (block_header_t *)((uint8_t *)(block + 1) + size);
    *cut = (block_header_t){.magic = BLOCK_MAGIC, .size = rest - HEADER, .next = block->next, .is_free = 1};
    block->size = size;
    return cut;
}

static void *allocate(uint32_t kind, uint32_t size) {
    memory_pool_t *pool = &g_pools[kind];
    block_header_t **link = &pool->free_list;

    if (size <= pool->total_size) {
        size = (size + SIZE_STEP - 1) & ~(SIZE_STEP - 1u);
        if (size < MINIMUM_BLOCK - HEADER)
            size = MINIMUM_BLOCK - HEADER;
        while (*link != NULL && (*link)->size < size)
            link = &(*link)->next;
    }
    if (size > pool->total_size || *link == NULL) {
        serial_printf("%s pool allocation failed\n", pool_names[kind]);
        return NULL;
    }
    block_header_t *block = *link;
    *link = split(block, size);
    block->next = NULL;
    block->is_free = 0;
    pool->stats.num_allocations++;
    count_free(pool);
    return block + 1;
}

static void join_with_next(block_header_t *block) {
    block_header_t *next = block->next;

    if (next == NULL || (uint8_t *)(block + 1) + block->size != (uint8_t *)next)
        return;
    block->size += HEADER + next->size;
    block->next = next->next;
    next->magic = 0;
}

/* A pointer that is no used block of the pool is refused: a second free must not damage the list. */
static void release(uint32_t kind, void *pointer) {
    memory_pool_t *pool = &g_pools[kind];
    block_header_t *block = (block_header_t *)pointer - 1;

    if ((uint8_t *)block < pool->base || (uint8_t *)pointer >= pool->base + pool->total_size ||
        block->magic != BLOCK_MAGIC || block->is_free)
        return;
    block_header_t *previous = NULL;
    block_header_t *next = pool->free_list;
    while (next != NULL && next < block) {
        previous = next;
        next = next->next;
    }
    block->next = next;
    block->is_free = 1;
    if (previous == NULL)
        pool->free_list = block;
    else
        previous->next = block;
    join_with_next(block);
    if (previous != NULL)
        join_with_next(previous);
    pool->stats.num_deallocations++;
    count_free(pool);
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
