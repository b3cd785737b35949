/* The application's profiler: calls and TSC cycles of up to 32 named functions. */
#include "jit_runtime.h"

#define NEVER UINT64_MAX

jit_profile_t jit_profile;

/* The entry that a name's address led to last: comparing the strings at each call would cost more than the rest. */
#define REMEMBERED 32
static struct {
    const jit_profile_t *profile;
    const char *name;
    jit_profile_entry_t *entry;
} remembered[REMEMBERED];

void jit_profile_init(jit_profile_t *profile) {
    memset(profile, 0, sizeof *profile);
    memset(remembered, 0, sizeof remembered);
}

const jit_profile_entry_t *jit_profile_find(const jit_profile_t *profile, const char *name) {
    for (uint32_t i = 0; i < profile->num_functions; i++)
        if (strncmp(profile->entries[i].name, name, sizeof profile->entries[i].name - 1) == 0)
            return &profile->entries[i];
    return NULL;
}

static __attribute__((noinline)) jit_profile_entry_t *find_or_add(jit_profile_t *profile, const char *name) {
    jit_profile_entry_t *entry = (jit_profile_entry_t *)jit_profile_find(profile, name);
    if (entry == NULL && profile->num_functions < MAX_JIT_PROFILE_ENTRIES) {
        entry = &profile->entries[profile->num_functions++];
        strncpy(entry->name, name, sizeof entry->name - 1);
        entry->min_cycles = NEVER;
    }
    return entry;
}

static inline jit_profile_entry_t *lookup(jit_profile_t *profile, const char *name) {
    uint32_t at = (uint32_t)name / 4 % REMEMBERED;
    if (remembered[at].name != name || remembered[at].profile != profile) {
        remembered[at].entry = find_or_add(profile, name);
        remembered[at].profile = profile;
        remembered[at].name = name;
    }
    return remembered[at].entry;
}

void jit_profile_begin(jit_profile_t *profile, const char *name) {
    jit_profile_entry_t *entry = lookup(profile, name);
    if (entry != NULL && entry->active++ == 0)
        entry->last_start = rdtsc();
}

void jit_profile_end(jit_profile_t *profile, const char *name) {
    uint64_t now = rdtsc();
    jit_profile_entry_t *entry = lookup(profile, name);
    if (entry == NULL || entry->active == 0 || --entry->active > 0)
        return;
    uint64_t cycles = now - entry->last_start;
    entry->call_count++;
    entry->total_cycles += cycles;
    if (cycles < entry->min_cycles)
        entry->min_cycles = cycles;
    if (cycles > entry->max_cycles)
        entry->max_cycles = cycles;
}

uint64_t jit_profile_average(const jit_profile_entry_t *entry) {
    return entry->call_count == 0 ? 0 : entry->total_cycles / entry->call_count;
}
