/* The application's profiler: calls and TSC cycles of up to 32 named functions. */
#include "jit_runtime.h"

#define NEVER UINT64_MAX

jit_profile_t jit_profile;

/* Counts what found no room among the 32, so that the hot path need not ask whether there is an entry. */
static jit_profile_entry_t no_room;

/*
 * Where a name's address led to last, in the profile that was used last: comparing strings at each call would cost
 * more than all the rest. Begin and end together take about 55 instructions.
 */
#define REMEMBERED 32
static const jit_profile_t *remembered_profile;
static const char *remembered_names[REMEMBERED];
static jit_profile_entry_t *remembered_entries[REMEMBERED];

static void forget(const jit_profile_t *profile) {
    remembered_profile = profile;
    memset(remembered_names, 0, sizeof remembered_names);
}

void jit_profile_init(jit_profile_t *profile) {
    memset(profile, 0, sizeof *profile);
    forget(profile);
}

const jit_profile_entry_t *jit_profile_find(const jit_profile_t *profile, const char *name) {
    for (uint32_t i = 0; i < profile->num_functions; i++)
        if (strncmp(profile->entries[i].name, name, sizeof profile->entries[i].name - 1) == 0)
            return &profile->entries[i];
    return NULL;
}

static jit_profile_entry_t *find_or_add(jit_profile_t *profile, const char *name) {
    jit_profile_entry_t *entry = (jit_profile_entry_t *)jit_profile_find(profile, name);
    if (entry != NULL)
        return entry;
    if (profile->num_functions == MAX_JIT_PROFILE_ENTRIES)
        return &no_room;
    entry = &profile->entries[profile->num_functions++];
    strncpy(entry->name, name, sizeof entry->name - 1);
    entry->min_cycles = NEVER;
    return entry;
}

static inline uint32_t place_of(const char *name) {
    return (uint32_t)name / 4 % REMEMBERED;
}

static __attribute__((noinline, cold)) jit_profile_entry_t *remember(jit_profile_t *profile, const char *name) {
    if (remembered_profile != profile)
        forget(profile);
    remembered_names[place_of(name)] = name;
    return remembered_entries[place_of(name)] = find_or_add(profile, name);
}

static inline jit_profile_entry_t *lookup(jit_profile_t *profile, const char *name) {
    uint32_t place = place_of(name);
    if (__builtin_expect(remembered_names[place] == name, 1) && __builtin_expect(remembered_profile == profile, 1))
        return remembered_entries[place];
    return remember(profile, name);
}

static __attribute__((noinline, cold)) void begin_again(jit_profile_entry_t *entry) {
    entry->active++;
}

static __attribute__((noinline, cold)) void end_inner(jit_profile_entry_t *entry) {
    if (entry->active > 0)
        entry->active--;
}

void jit_profile_begin(jit_profile_t *profile, const char *name) {
    jit_profile_entry_t *entry = lookup(profile, name);
    if (__builtin_expect(entry->active != 0, 0)) {
        begin_again(entry);
        return;
    }
    entry->active = 1;
    entry->last_start = rdtsc();
}

void jit_profile_end(jit_profile_t *profile, const char *name) {
    jit_profile_entry_t *entry = lookup(profile, name);
    if (__builtin_expect(entry->active != 1, 0)) {
        end_inner(entry);
        return;
    }
    entry->active = 0;
    uint64_t cycles = rdtsc() - entry->last_start;
    entry->call_count++;
    entry->total_cycles += cycles;
    if (__builtin_expect(cycles < entry->min_cycles, 0))
        entry->min_cycles = cycles;
    if (__builtin_expect(cycles > entry->max_cycles, 0))
        entry->max_cycles = cycles;
}

uint64_t jit_profile_average(const jit_profile_entry_t *entry) {
    return entry->call_count == 0 ? 0 : entry->total_cycles / entry->call_count;
}
