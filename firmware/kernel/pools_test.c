/* The ten self-tests of the JIT pools. They leave the pools as they were at initialisation. */
#include "defs.h"

#define HEADER ((uint32_t)sizeof(block_header_t))

static const pool_stats_t *code_stats(void) {
    return &g_pools[BF_POOL_CODE].stats;
}

static bool inside(uint32_t pool, const void *pointer) {
    return (bf_ptr)pointer >= g_pools[pool].base + HEADER &&
           (bf_ptr)pointer < g_pools[pool].base + g_pools[pool].total_size;
}

static bool every_pool_allocates_inside_itself(void) {
    return inside(BF_POOL_CODE, jit_alloc_code(100)) && inside(BF_POOL_DATA, jit_alloc_data(100)) &&
           inside(BF_POOL_METADATA, jit_alloc_metadata(100));
}

static bool sizes_are_rounded_up_to_8(void) {
    uint32_t before = code_stats()->used;

    return jit_alloc_code(101) != NULL && code_stats()->used == before + 104 + HEADER;
}

static bool smallest_block_is_32_bytes(void) {
    uint32_t before = code_stats()->used;

    return jit_alloc_code(1) != NULL && code_stats()->used == before + 32;
}

static bool blocks_keep_their_bytes(void) {
    uint8_t *a = jit_alloc_code(64);
    uint8_t *b = jit_alloc_code(64);

    memset(a, 0xAA, 64);
    memset(b, 0x55, 64);
    for (uint32_t i = 0; i < 64; i++)
        if (a[i] != 0xAA || b[i] != 0x55)
            return false;
    return true;
}

static bool free_gives_every_byte_back(void) {
    uint32_t before = code_stats()->used;
    void *block = jit_alloc_code(1000);

    jit_free_code(block);
    return code_stats()->used == before && code_stats()->used + code_stats()->free == code_stats()->total;
}

static bool free_neighbours_are_joined(void) {
    void *blocks[3];

    for (uint32_t i = 0; i < 3; i++)
        blocks[i] = jit_alloc_code(200);
    jit_free_code(blocks[0]);
    jit_free_code(blocks[2]);
    jit_free_code(blocks[1]);
    const block_header_t *whole = (const block_header_t *)g_pools[BF_POOL_CODE].free_list;
    return whole->size == BF_POOL_CODE_SIZE - HEADER && whole->next == 0;
}

static bool first_fit_reuses_the_first_hole(void) {
    void *first = jit_alloc_code(256);
    void *second = jit_alloc_code(256);

    jit_free_code(first);
    void *again = jit_alloc_code(128);
    return second != NULL && again == first;
}

static bool exhaustion_is_refused_and_recovered_from(void) {
    void *all = jit_alloc_code(BF_POOL_CODE_SIZE - HEADER);
    bool refused = jit_alloc_code(1) == NULL && jit_alloc_code(0xFFFFFFF8) == NULL;

    jit_free_code(all);
    return all != NULL && refused && jit_alloc_code(1) != NULL;
}

static bool wrong_frees_are_refused(void) {
    void *block = jit_alloc_code(64);
    jit_free_code(block);
    uint32_t frees = code_stats()->num_deallocations;

    jit_free_code(block);
    jit_free_code((void *)BF_POOL_DATA_BASE);
    jit_free_code(NULL);
    return code_stats()->num_deallocations == frees;
}

static bool statistics_are_right_to_the_byte(void) {
    void *hole = jit_alloc_code(1008);
    void *rest = jit_alloc_code(BF_POOL_CODE_SIZE - 1024 - 1024 - HEADER);

    jit_free_code(hole);
    const pool_stats_t *stats = code_stats();
    return rest != NULL && stats->total == BF_POOL_CODE_SIZE && stats->free == 2048 && stats->fragmentation == 50 &&
           stats->used == BF_POOL_CODE_SIZE - 2048 && stats->peak == BF_POOL_CODE_SIZE - 1024 &&
           stats->num_allocations == 2 && stats->num_deallocations == 1;
}

static const struct {
    const char *name;
    bool (*passes)(void);
} tests[10] = {
    {"every pool allocates inside itself", every_pool_allocates_inside_itself},
    {"sizes are rounded up to 8", sizes_are_rounded_up_to_8},
    {"the smallest block is 32 bytes", smallest_block_is_32_bytes},
    {"blocks keep their bytes", blocks_keep_their_bytes},
    {"free gives every byte back", free_gives_every_byte_back},
    {"free neighbours are joined", free_neighbours_are_joined},
    {"first fit reuses the first hole", first_fit_reuses_the_first_hole},
    {"exhaustion is refused and recovered from", exhaustion_is_refused_and_recovered_from},
    {"wrong frees are refused", wrong_frees_are_refused},
    {"statistics are right to the byte", statistics_are_right_to_the_byte},
};

/* Muted: a failure that a test provokes must not look like one. */
uint32_t pools_self_test(void) {
    uint32_t passed = 0;

    pool_mute(true);
    for (uint32_t i = 0; i < 10; i++) {
        jit_allocator_init();
        bool passes = tests[i].passes();
        passed += passes;
        kprintf("[POOL] Test %u: %s: %s\n", i + 1, tests[i].name, passes ? "passed" : "FAILED");
    }
    pool_mute(false);
    jit_allocator_init();
    kprintf("%u / 10 tests passed\n", passed);
    return passed;
}
