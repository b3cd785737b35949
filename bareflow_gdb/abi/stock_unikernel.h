/*
 * Layouts of the stock runtime library with TinyLlama ("unikernel"), measured on kernels in the field.
 * Subset of C and alignment rules as in bareflow.h.
 */

#define MAX_JIT_PROFILE_ENTRIES 32

typedef struct jit_profile_entry {
    char name[32];
    uint64_t call_count;
    uint64_t total_cycles;
    uint64_t min_cycles;
    uint64_t max_cycles;
    uint64_t last_start;
    uint32_t active;
} jit_profile_entry_t;

typedef struct jit_profile {
    jit_profile_entry_t entries[32];
    uint32_t num_functions;
} jit_profile_t;
