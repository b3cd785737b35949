/* The block table in the METADATA pool: every pool block with its owner, readable in one go. */
#include "defs.h"

struct bf_block_table *block_table;

static struct bf_block *records(void) {
    return (struct bf_block *)block_table->blocks;
}

static struct bf_block *find(bf_ptr address) {
    for (uint32_t i = 0; i < block_table->count; i++)
        if (records()[i].address == address)
            return &records()[i];
    return NULL;
}

/* The records follow the table in memory. */
void block_table_init(struct bf_block_table *table, uint32_t capacity) {
    memset(table, 0, sizeof *table + capacity * sizeof(struct bf_block));
    table->capacity = capacity;
    table->blocks = (bf_ptr)(table + 1);
    table->magic = BF_BLOCKS_MAGIC;
    block_table = table;
}

void block_table_set(bf_ptr address, uint32_t size, uint32_t pool, uint32_t state, uint32_t owner_kind,
                     uint32_t owner) {
    if (block_table == NULL)
        return;
    struct bf_block *record = find(address);
    if (record == NULL) {
        if (block_table->count == block_table->capacity) {
            block_table->lost++;
            return;
        }
        record = &records()[block_table->count];
    }
    *record = (struct bf_block){.address = address, .size = size, .owner = owner, .pool = (uint8_t)pool,
                                .state = (uint8_t)state, .owner_kind = (uint8_t)owner_kind};
    if (record == &records()[block_table->count])
        block_table->count++;
}

void block_table_remove(bf_ptr address) {
    if (block_table == NULL)
        return;
    struct bf_block *record = find(address);
    if (record == NULL) {
        block_table->lost--;
        return;
    }
    *record = records()[block_table->count - 1];
    block_table->count--;
    records()[block_table->count] = (struct bf_block){0};
}

const struct bf_block *block_table_find(bf_ptr address) {
    return block_table == NULL ? NULL : find(address);
}
