/*
 * Layouts of stock BareFlow kernels ("kernel": the one with the adaptive JIT), measured on kernels in the field,
 * which carry no types. This project's own kernel keeps them. Subset of C as in bareflow.h; i386 rules: u64 is
 * aligned to 4, so packed offsets are the real ones.
 */

#define MODULE_MAGIC 0x4D4F4442
#define BITCODE_MAGIC 0x4C4C4243
#define BLOCK_MAGIC 0xDEADBEEF
#define MAX_MODULES 16
#define MAX_PROFILED_FUNCTIONS 128
#define MAX_JIT_FUNCTIONS 32

typedef struct module_header {
    uint32_t magic;             /* MODULE_MAGIC, bytes 42 44 4f 4d */
    char name[32];
    uint32_t entry_point;       /* 0x30 in .mod files; made absolute at load */
    uint32_t code_size;
    uint32_t version;
} module_header_t;

typedef struct module_profile {
    char name[32];
    uint32_t code_ptr;
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;        /* starts at 2^64 - 1 */
    uint64_t max_cycles;
    uint64_t sum_of_squares;
    uint32_t code_size;
    int32_t loaded;
} module_profile_t;

typedef struct module_manager {
    module_profile_t modules[16];
    uint32_t num_modules;
    uint64_t total_calls;
} module_manager_t;

/* Older kernels: module profiles of 76 bytes, without sum_of_squares. */
typedef struct module_profile_76 {
    char name[32];
    uint32_t code_ptr;
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;
    uint64_t max_cycles;
    uint32_t code_size;
    int32_t loaded;
} module_profile_76_t;

typedef struct module_manager_76 {
    module_profile_76_t modules[16];
    uint32_t num_modules;
    uint64_t total_calls;
} module_manager_76_t;

/* The oldest: 72 bytes, without loaded too. */
typedef struct module_profile_72 {
    char name[32];
    uint32_t code_ptr;
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;
    uint64_t max_cycles;
    uint32_t code_size;
} module_profile_72_t;

typedef struct module_manager_72 {
    module_profile_72_t modules[16];
    uint32_t num_modules;
    uint64_t total_calls;
} module_manager_72_t;

typedef struct function_profile {
    uint32_t name;              /* char * */
    uint32_t module_name;       /* char * */
    uint32_t address;
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;
    uint64_t max_cycles;
    uint32_t opt_level;
    uint8_t needs_recompile;
    uint8_t is_hot;
    uint8_t padding[2];
} function_profile_t;

typedef struct function_profiler {
    function_profile_t functions[128];
    uint32_t function_count;
    uint64_t total_calls;
    uint32_t jit_enabled;
} function_profiler_t;

typedef struct jit_context {
    uint32_t code_buffer;
    uint32_t code_size;
    uint32_t code_capacity;     /* 8192 in stock kernels */
    uint32_t allocator;
} jit_context_t;

typedef struct jit_function_entry {
    uint32_t profiler_id;
    uint32_t code_v0;
    uint32_t code_v1;
    uint32_t code_v2;
    uint32_t code_v3;
    uint32_t current_code;      /* @20: the published pointer */
    jit_context_t jit_ctx;
    uint32_t compiled_level;
    uint32_t is_active;
} jit_function_entry_t;

typedef struct adaptive_jit {
    function_profiler_t profiler;
    jit_function_entry_t functions[32];
    uint32_t function_count;
    uint32_t enabled;
} adaptive_jit_t;

/* 128 bytes as documented and as this project writes it; in the field also 120 (reserved[2]) and 124 (reserved[3]). */
typedef struct bitcode_header {
    uint32_t magic;             /* BITCODE_MAGIC */
    char module_name[32];
    char entry_name[64];
    uint32_t bitcode_size;      /* payload bytes */
    uint32_t version;
    uint32_t opt_level;
    uint32_t reserved[4];
} bitcode_header_t;

typedef struct block_header {
    uint32_t magic;             /* BLOCK_MAGIC */
    uint32_t size;              /* payload bytes */
    uint32_t next;              /* next free block */
    uint32_t is_free;
} block_header_t;

typedef struct pool_stats {
    uint32_t total;
    uint32_t used;
    uint32_t free;
    uint32_t num_allocations;
    uint32_t num_deallocations;
    uint32_t peak;
    uint32_t fragmentation;     /* free bytes outside the largest free block, in percent of the free bytes */
} pool_stats_t;

typedef struct memory_pool {
    uint32_t base;
    uint32_t total_size;
    uint32_t free_list;
    pool_stats_t stats;
    uint32_t initialized;
} memory_pool_t;
