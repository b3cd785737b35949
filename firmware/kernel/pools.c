/*
 * The three JIT pools: first fit over a free list in address order, with a 16-byte header before every block.
 * In the statistics a block counts with its header, so that used + free = total at any time.
 */
#include "defs.h"

#define HEADER ((uint32_t)sizeof(block_header_t))
#define MINIMUM_BLOCK 32
#define SIZE_STEP 8
#define OWNED_STEP 16

memory_pool_t g_pools[3];

static const char *const pool_names[3] = {"CODE", "DATA", "METADATA"};
static bool muted;

static uint32_t round_up(uint32_t size, uint32_t step) {
    return (size + step - 1) & ~(step - 1);
}

static block_header_t *header_at(bf_ptr address) {
    return (block_header_t *)address;
}

static void count_free(memory_pool_t *pool) {
    uint32_t free = 0;
    uint32_t largest = 0;

    for (bf_ptr at = pool->free_list; at != 0; at = header_at(at)->next) {
        uint32_t bytes = header_at(at)->size + HEADER;
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

static void make_free(uint32_t pool, bf_ptr address, uint32_t size, bf_ptr next) {
    *header_at(address) = (block_header_t){.magic = BLOCK_MAGIC, .size = size, .next = next, .is_free = 1};
    block_table_set(address, size, pool, BF_BLOCK_FREE, BF_OWNER_NONE, 0);
}

static void pool_init(uint32_t pool, bf_ptr base, uint32_t size) {
    g_pools[pool] = (memory_pool_t){.base = base, .total_size = size, .free_list = base, .stats = {.total = size},
                                    .initialized = 1};
    make_free(pool, base, size - HEADER, 0);
    count_free(&g_pools[pool]);
}

void jit_allocator_init(void) {
    uint32_t table_bytes = sizeof(struct bf_block_table) + BF_MAX_BLOCKS * sizeof(struct bf_block);

    block_table = NULL;
    pool_init(BF_POOL_CODE, BF_POOL_CODE_BASE, BF_POOL_CODE_SIZE);
    pool_init(BF_POOL_DATA, BF_POOL_DATA_BASE, BF_POOL_DATA_SIZE);
    pool_init(BF_POOL_METADATA, BF_POOL_METADATA_BASE, BF_POOL_METADATA_SIZE);

    bf_ptr table = pool_alloc(BF_POOL_METADATA, table_bytes, BF_OWNER_TABLE, 0);
    block_table_init((struct bf_block_table *)table, BF_MAX_BLOCKS);
    for (uint32_t pool = 0; pool < 3; pool++)
        block_table_set(g_pools[pool].free_list, header_at(g_pools[pool].free_list)->size, pool, BF_BLOCK_FREE,
                        BF_OWNER_NONE, 0);
    block_table_set(table - HEADER, header_at(table - HEADER)->size, BF_POOL_METADATA, BF_BLOCK_USED,
                    BF_OWNER_TABLE, 0);
}

void pool_mute(bool mute) {
    muted = mute;
}

static void report_failure(uint32_t pool, uint32_t size) {
    if (muted)
        return;
    kprintf("%s pool allocation failed\n", pool_names[pool]);
    event(BF_EVENT_POOL_FAIL, pool, size, g_pools[pool].stats.free, BF_REASON_NO_MEMORY, 0);
    if (HOOKED(BF_HOOK_POOL_FAIL))
        bareflow_hook_pool_fail(pool, size);
}

/* Cuts what is more than `size` off the end of a block; returns the new free block, 0 if the rest is too small. */
static bf_ptr split(uint32_t pool, bf_ptr block, uint32_t size, bf_ptr next_free) {
    uint32_t rest = header_at(block)->size - size;

    if (rest < MINIMUM_BLOCK)
        return 0;
    header_at(block)->size = size;
    make_free(pool, block + HEADER + size, rest - HEADER, next_free);
    return block + HEADER + size;
}

static bf_ptr allocate(uint32_t kind, uint32_t size, uint32_t owner_kind, uint32_t owner) {
    memory_pool_t *pool = &g_pools[kind];
    bf_ptr previous = 0;
    bf_ptr at = pool->free_list;

    if (size < MINIMUM_BLOCK - HEADER)
        size = MINIMUM_BLOCK - HEADER;
    while (at != 0 && header_at(at)->size < size) {
        previous = at;
        at = header_at(at)->next;
    }
    if (!pool->initialized || at == 0) {
        report_failure(kind, size);
        return 0;
    }
    bf_ptr rest = split(kind, at, size, header_at(at)->next);
    bf_ptr next = rest != 0 ? rest : header_at(at)->next;
    if (previous == 0)
        pool->free_list = next;
    else
        header_at(previous)->next = next;
    header_at(at)->next = 0;
    header_at(at)->is_free = 0;
    block_table_set(at, header_at(at)->size, kind, BF_BLOCK_USED, owner_kind, owner);
    pool->stats.num_allocations++;
    count_free(pool);
    if (!muted)
        event(BF_EVENT_POOL_ALLOC, kind, at + HEADER, header_at(at)->size, owner, owner_kind);
    return at + HEADER;
}

/* A size near 2^32 must not become a small one by rounding. */
static bf_ptr allocate_rounded(uint32_t pool, uint32_t size, uint32_t step, uint32_t owner_kind, uint32_t owner) {
    if (size > g_pools[pool].total_size) {
        report_failure(pool, size);
        return 0;
    }
    return allocate(pool, round_up(size, step), owner_kind, owner);
}

bf_ptr pool_alloc(uint32_t pool, uint32_t size, uint32_t owner_kind, uint32_t owner) {
    return allocate_rounded(pool, size, OWNED_STEP, owner_kind, owner);
}

static bool merge_with_next(uint32_t pool, bf_ptr at) {
    bf_ptr next = header_at(at)->next;

    if (next == 0 || at + HEADER + header_at(at)->size != next)
        return false;
    block_table_remove(next);
    header_at(next)->magic = 0;
    make_free(pool, at, header_at(at)->size + HEADER + header_at(next)->size, header_at(next)->next);
    return true;
}

/* Puts a block into the free list at its address, and joins it with free neighbours. */
static void give_back(uint32_t kind, bf_ptr block) {
    memory_pool_t *pool = &g_pools[kind];
    bf_ptr previous = 0;
    bf_ptr next = pool->free_list;

    while (next != 0 && next < block) {
        previous = next;
        next = header_at(next)->next;
    }
    make_free(kind, block, header_at(block)->size, next);
    if (previous == 0)
        pool->free_list = block;
    else
        header_at(previous)->next = block;
    merge_with_next(kind, block);
    if (previous != 0)
        merge_with_next(kind, previous);
}

/* The used block of a payload address, 0 when there is none. */
static bf_ptr used_block(uint32_t kind, bf_ptr payload) {
    const memory_pool_t *pool = &g_pools[kind];
    bf_ptr block = payload - HEADER;

    if (payload % SIZE_STEP != 0 || payload < pool->base + HEADER || payload >= pool->base + pool->total_size)
        return 0;
    if (header_at(block)->magic != BLOCK_MAGIC || header_at(block)->is_free)
        return 0;
    return block;
}

bool pool_free(uint32_t pool, bf_ptr payload) {
    bf_ptr block = used_block(pool, payload);

    if (block == 0) {
        if (!muted)
            kprintf("[POOL] 0x%08x is not a used block of the %s pool: not freed\n", payload, pool_names[pool]);
        return false;
    }
    const struct bf_block *record = block_table_find(block);
    uint32_t owner = record == NULL ? 0 : record->owner;
    uint32_t owner_kind = record == NULL ? BF_OWNER_NONE : record->owner_kind;
    uint32_t size = header_at(block)->size;
    give_back(pool, block);
    g_pools[pool].stats.num_deallocations++;
    count_free(&g_pools[pool]);
    if (!muted)
        event(BF_EVENT_POOL_FREE, pool, payload, size, owner, owner_kind);
    return true;
}

/* Not a free of its own in the statistics: the block stays, only smaller. */
void pool_shrink(uint32_t pool, bf_ptr payload, uint32_t size) {
    bf_ptr block = used_block(pool, payload);

    if (block == 0 || round_up(size, OWNED_STEP) >= header_at(block)->size)
        return;
    uint32_t before = header_at(block)->size;
    bf_ptr rest = split(pool, block, round_up(size, OWNED_STEP), 0);
    if (rest == 0)
        return;
    const struct bf_block *record = block_table_find(block);
    if (record != NULL)
        block_table_set(block, header_at(block)->size, pool, BF_BLOCK_USED, record->owner_kind, record->owner);
    give_back(pool, rest);
    count_free(&g_pools[pool]);
    if (!muted)
        event(BF_EVENT_POOL_SHRINK, pool, payload, header_at(block)->size, before, 0);
}

static void *allocate_unowned(uint32_t pool, uint32_t size) {
    return (void *)allocate_rounded(pool, size, SIZE_STEP, BF_OWNER_NONE, 0);
}

void *jit_alloc_code(uint32_t size) {
    return allocate_unowned(BF_POOL_CODE, size);
}

void *jit_alloc_data(uint32_t size) {
    return allocate_unowned(BF_POOL_DATA, size);
}

void *jit_alloc_metadata(uint32_t size) {
    return allocate_unowned(BF_POOL_METADATA, size);
}

void jit_free_code(void *pointer) {
    pool_free(BF_POOL_CODE, (bf_ptr)pointer);
}

void jit_free_data(void *pointer) {
    pool_free(BF_POOL_DATA, (bf_ptr)pointer);
}

void jit_free_metadata(void *pointer) {
    pool_free(BF_POOL_METADATA, (bf_ptr)pointer);
}
