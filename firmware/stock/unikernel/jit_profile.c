/* The application profiler of the stock runtime library: calls and TSC cycles of up to 32 named functions. */
#include "unikernel.h"

void jit_profile_init(jit_profile_t *profile) {
    memset(profile, 0, sizeof *profile);
#ifdef FIELD_DEMOS
    for (uint32_t i = 0; i < MAX_JIT_PROFILE_ENTRIES; i++)
        profile->entries[i].min_cycles = UINT64_MAX;
#endif
}

static jit_profile_entry_t *find_or_add(jit_profile_t *profile, const char *name) {
    for (uint32_t i = 0; i < profile->num_functions; i++)
        if (strncmp(profile->entries[i].name, name, sizeof profile->entries[i].name - 1) == 0)
            return &profile->entries[i];
    if (profile->num_functions == MAX_JIT_PROFILE_ENTRIES)
        return NULL;
    jit_profile_entry_t *entry = &profile->entries[profile->num_functions++];
    strncpy(entry->name, name, sizeof entry->name - 1);
    entry->min_cycles = UINT64_MAX;
    return entry;
}

void jit_profile_begin(jit_profile_t *profile, const char *name) {
    jit_profile_entry_t *entry = find_or_add(profile, name);

    if (entry == NULL)
        return;
    entry->active = 1;
    entry->last_start = rdtsc();
}

void jit_profile_end(jit_profile_t *profile, const char *name) {
    uint64_t now = rdtsc();
    jit_profile_entry_t *entry = find_or_add(profile, name);

    if (entry == NULL || !entry->active)
        return;
    uint64_t cycles = now - entry->last_start;
    entry->active = 0;
    entry->call_count++;
    entry->total_cycles += cycles;
    if (cycles < entry->min_cycles)
        entry->min_cycles = cycles;
    if (cycles > entry->max_cycles)
        entry->max_cycles = cycles;
}

void jit_profile_print(const jit_profile_t *profile) {
    kprintf("=== JIT Profiling Statistics ===\n");
    for (uint32_t i = 0; i < profile->num_functions; i++) {
        const jit_profile_entry_t *entry = &profile->entries[i];
        if (entry->call_count != 0)
            kprintf("%s: calls=%llu, avg=%llu, min=%llu, max=%llu\n", entry->name, entry->call_count,
                    entry->total_cycles / entry->call_count, entry->min_cycles, entry->max_cycles);
    }
}
