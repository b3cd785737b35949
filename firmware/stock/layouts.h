/*
 * The records of stock kernels as their sources declare them, with C's own types: bareflow_gdb/abi/stock_kernel.h,
 * stock_unikernel.h and fat16.h describe the same bytes, and the debug information of the twin build proves it.
 *
 * Generations: STOCK_PROFILE_BYTES is 84, or for older kernels 76 (no sum_of_squares) or 72 (neither that nor
 * `loaded`: a module in the table was loaded). STOCK_BITCODE_BYTES is 120, 124 or 128 (2, 3 or 4 reserved words).
 */
#pragma once

#include <stdint.h>

#ifndef STOCK_PROFILE_BYTES
#define STOCK_PROFILE_BYTES 84
#endif
#ifndef STOCK_BITCODE_BYTES
#define STOCK_BITCODE_BYTES 120
#endif

#define MODULE_MAGIC 0x4D4F4442
#define BITCODE_MAGIC 0x4C4C4243
#define BLOCK_MAGIC 0xDEADBEEF
#define MAX_MODULES 16
#define MAX_PROFILED_FUNCTIONS 128
#define MAX_JIT_FUNCTIONS 32
#define MAX_JIT_PROFILE_ENTRIES 32

typedef struct module_header {
    uint32_t magic;
    char name[32];
    uint32_t entry_point;
    uint32_t code_size;
    uint32_t version;
} __attribute__((packed)) module_header_t;

typedef struct module_profile {
    char name[32];
    void *code_ptr;
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;
    uint64_t max_cycles;
#if STOCK_PROFILE_BYTES == 84
    uint64_t sum_of_squares;
#endif
    uint32_t code_size;
#if STOCK_PROFILE_BYTES != 72
    int loaded;
#endif
} module_profile_t;

typedef struct module_manager {
    module_profile_t modules[MAX_MODULES];
    uint32_t num_modules;
    uint64_t total_calls;
} module_manager_t;

typedef struct function_profile {
    const char *name;
    const char *module_name;
    void *address;
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;
    uint64_t max_cycles;
    uint32_t opt_level;
    _Bool needs_recompile;
    _Bool is_hot;
} function_profile_t;

typedef struct function_profiler {
    function_profile_t functions[MAX_PROFILED_FUNCTIONS];
    uint32_t function_count;
    uint64_t total_calls;
    int jit_enabled;
} function_profiler_t;

typedef struct memory_pool memory_pool_t;

typedef struct jit_context {
    uint8_t *code_buffer;
    uint32_t code_size;
    uint32_t code_capacity;
    memory_pool_t *allocator;
} jit_context_t;

typedef struct jit_function_entry {
    uint32_t profiler_id;
    void *code_v0;
    void *code_v1;
    void *code_v2;
    void *code_v3;
    void *current_code;
    jit_context_t jit_ctx;
    uint32_t compiled_level;
    int is_active;
} jit_function_entry_t;

typedef struct adaptive_jit {
    function_profiler_t profiler;
    jit_function_entry_t functions[MAX_JIT_FUNCTIONS];
    uint32_t function_count;
    int enabled;
} adaptive_jit_t;

typedef struct bitcode_header {
    uint32_t magic;
    char module_name[32];
    char entry_name[64];
    uint32_t bitcode_size;
    uint32_t version;
    uint32_t opt_level;
    uint32_t reserved[(STOCK_BITCODE_BYTES - 112) / 4];
} __attribute__((packed)) bitcode_header_t;

typedef struct block_header {
    uint32_t magic;
    uint32_t size;
    struct block_header *next;
    uint32_t is_free;
} block_header_t;

typedef struct pool_stats {
    uint32_t total;
    uint32_t used;
    uint32_t free;
    uint32_t num_allocations;
    uint32_t num_deallocations;
    uint32_t peak;
    uint32_t fragmentation;
} pool_stats_t;

struct memory_pool {
    uint8_t *base;
    uint32_t total_size;
    block_header_t *free_list;
    pool_stats_t stats;
    int initialized;
};

typedef struct fat16_boot_sector {
    uint8_t jump[3];
    char oem[8];
    uint16_t bytes_per_sector;
    uint8_t sectors_per_cluster;
    uint16_t reserved_sectors;
    uint8_t fat_count;
    uint16_t root_entries;
    uint16_t sectors16;
    uint8_t media;
    uint16_t sectors_per_fat;
    uint16_t sectors_per_track;
    uint16_t heads;
    uint32_t hidden_sectors;
    uint32_t sectors32;
    uint8_t drive_number;
    uint8_t reserved;
    uint8_t boot_signature;
    uint32_t volume_id;
    char volume_label[11];
    char file_system[8];
} __attribute__((packed)) fat16_boot_sector_t;

typedef struct fat16_dir_entry {
    char name[8];
    char extension[3];
    uint8_t attributes;
    uint8_t reserved[10];
    uint16_t time;
    uint16_t date;
    uint16_t first_cluster;
    uint32_t size;
} __attribute__((packed)) fat16_dir_entry_t;

typedef struct fat16_fs {
    fat16_boot_sector_t boot_sector;
    uint32_t fat_start;
    uint32_t root_dir_start;
    uint32_t data_start;
    uint32_t total;
    uint32_t root_dir_sectors;
    uint8_t sector_buffer[512];
    uint16_t *fat_cache;
    _Bool fat_cached;
    uint8_t drive;
} fat16_fs_t;

typedef struct jit_profile_entry {
    char name[32];
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;
    uint64_t max_cycles;
    uint64_t last_start;
    int active;
} jit_profile_entry_t;

typedef struct jit_profile {
    jit_profile_entry_t entries[MAX_JIT_PROFILE_ENTRIES];
    uint32_t num_functions;
} jit_profile_t;

_Static_assert(sizeof(module_profile_t) == STOCK_PROFILE_BYTES, "STOCK_PROFILE_BYTES is 84, 76 or 72");
_Static_assert(sizeof(bitcode_header_t) == STOCK_BITCODE_BYTES, "STOCK_BITCODE_BYTES is 120, 124 or 128");
