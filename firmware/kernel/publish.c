/*
 * Which version of a function is published: it is called through the function's slot, and every record that names it
 * follows. A version is published, and a retired one freed, only at a safe point: in the dispatcher or the idle loop,
 * with no frame of JIT code below it.
 */
#include "disk.h"

#define KEEP_RETIRED 4          /* per function: what a debugger may still read, and roll back to */
#define PATH_LENGTH 12

adaptive_jit_t adaptive_jit;
uint32_t jit_not_yet_called;
bf_ptr jit_last_code[BF_MAX_FUNCTIONS];

static struct {
    uint8_t levels[PATH_LENGTH];    /* the first ones published */
    uint32_t published;
} paths[BF_MAX_FUNCTIONS];

const char *reason_text(uint32_t reason) {
    static const char *const texts[] = {
        [BF_REASON_NONE] = "no reason", [BF_REASON_INITIAL] = "initial", [BF_REASON_THRESHOLD] = "threshold",
        [BF_REASON_HOST_ASKED] = "the host asked", [BF_REASON_FORCED] = "forced",
        [BF_REASON_ROLLBACK] = "rollback", [BF_REASON_VETOED] = "vetoed", [BF_REASON_NO_MEMORY] = "no memory",
        [BF_REASON_BAD_CRC] = "bad CRC", [BF_REASON_BAD_BOUNDS] = "bad bounds",
        [BF_REASON_BAD_BITCODE] = "bad bitcode", [BF_REASON_LINK_FAILED] = "link failed",
        [BF_REASON_COMPILER_DIED] = "compiler died", [BF_REASON_NO_BITCODE] = "no bitcode",
        [BF_REASON_CANCELLED] = "cancelled", [BF_REASON_EMBEDDED] = "embedded", [BF_REASON_CACHE] = "cache",
        [BF_REASON_DISK] = "disk", [BF_REASON_EVICTED] = "evicted", [BF_REASON_REPLACED] = "replaced",
        [BF_REASON_APPLICATION] = "the application asked", [BF_REASON_DIFFERS] = "it differs",
        [BF_REASON_NOT_EXECUTABLE] = "not for this CPU",
    };
    return reason < sizeof texts / sizeof texts[0] ? texts[reason] : "unknown reason";
}

static void set_code_of_level(jit_function_entry_t *entry, uint32_t level, bf_ptr code) {
    uint32_t *const slots[BF_LEVELS] = {&entry->code_v0, &entry->code_v1, &entry->code_v2, &entry->code_v3};
    *slots[level] = code;
}

static void note_published(uint32_t function, struct bf_version *version, uint64_t tsc) {
    struct bf_function *record = &function_table[function];
    jit_function_entry_t *entry = &adaptive_jit.functions[function];
    function_profile_t *profile = &adaptive_jit.profiler.functions[record->profiler_id];

    /* In this order: who looks takes the level for the end of the publication. */
    version->tsc_published = tsc;
    __atomic_store_n(&version->state, BF_VERSION_PUBLISHED, __ATOMIC_RELEASE);
    record->version = version->number;
    __atomic_store_n(&record->level, version->level, __ATOMIC_RELEASE);
    entry->jit_ctx = (jit_context_t){.code_buffer = version->code, .code_size = version->code_size,
                                     .code_capacity = ((block_header_t *)version->code - 1)->size,
                                     .allocator = (uint32_t)g_pools};
    set_code_of_level(entry, version->level, version->entry);
    profile->address = version->entry;
    profile->opt_level = version->level;
    profile->needs_recompile = 0;
    jit_last_code[function] = 0;
    if (paths[function].published < PATH_LENGTH)
        paths[function].levels[paths[function].published] = version->level;
    paths[function].published++;
}

void publish_initial(uint32_t function, struct bf_version *version) {
    adaptive_jit.functions[function].current_code = version->entry;
    note_published(function, version, rdtsc());
}

/* How far a swap is, for who looks; a place to stop at each phase. */
void publish_phase(uint32_t function, uint32_t phase, uint32_t level) {
    mail_slots[function].phase_level = (uint8_t)level;
    mail_slots[function].phase = (uint8_t)phase;
    if (HOOKED(BF_HOOK_PHASE))
        bareflow_hook_phase(function, phase, level);
}

void publish_reject(uint32_t function, uint32_t reason, uint32_t request, uint32_t level) {
    mail_slots[function].refusal = (uint8_t)reason;
    publish_phase(function, BF_PHASE_NONE, level);
    event(BF_EVENT_REJECT, function, reason, request, level, 0);
    if (HOOKED(BF_HOOK_REJECT))
        bareflow_hook_reject(function, reason);
}

/* The old version is retired, and the oldest retired ones are freed. */
void publish_version(uint32_t function, struct bf_version *version, uint32_t reason) {
    struct bf_function *record = &function_table[function];
    jit_function_entry_t *entry = &adaptive_jit.functions[function];
    struct bf_version *old = version_find(record->version);
    bf_ptr old_code = entry->current_code;

    kprintf("[RECOMPILE] %s: O%u -> O%u\n", record->name, record->level, version->level);
    const struct bf_version *same = version->same_as == 0 ? NULL : version_find(version->same_as);
    if (same != NULL)
        kprintf("[RECOMPILE] %s: O%u code equals O%u\n", record->name, version->level, same->level);
    publish_phase(function, BF_PHASE_ABOUT_TO_PUBLISH, version->level);
    adaptive_jit_swap_code(entry, version->entry, version->level);
    uint64_t now = rdtsc();
    event(BF_EVENT_PUBLISH, function, (uint32_t)&entry->current_code, old_code, version->entry,
          version->number << 8 | reason << 3 | version->level);
    bareflow_status.swap_count++;
    record->tsc_last_swap = now;
    note_published(function, version, now);
    jit_not_yet_called |= 1u << function;
    publish_phase(function, BF_PHASE_PUBLISHED, version->level);
    if (old != NULL && old != version) {
        old->state = BF_VERSION_RETIRED;
        old->tsc_retired = now;
        event(BF_EVENT_RETIRE, function, old->number, old->code, old->code_size,
              reason == BF_REASON_ROLLBACK ? BF_REASON_ROLLBACK : BF_REASON_REPLACED);
        publish_phase(function, BF_PHASE_OLD_VERSION_RETIRED, version->level);
    }
    kprintf("[ATOMIC-SWAP] Code pointer updated to O%u\n", version->level);
    if (HOOKED(BF_HOOK_SWAP))
        bareflow_hook_swap(function, old_code, version->entry, version->number);
    if (cache_mark_published)
        cache_mark_published(record->name, version->provider == BF_PROVIDER_PRECOMPILED ? version->level : BF_LEVELS);
    version_free_retired(function, KEEP_RETIRED);
}

/* False when the version is not one of the function's, or no longer has code. */
bool publish_roll_back(uint32_t function, uint32_t number) {
    struct bf_version *version = version_find(number);
    uint32_t from = function_table[function].version;

    if (version == NULL || version->function != function || version->state != BF_VERSION_RETIRED)
        return false;
    event(BF_EVENT_ROLLBACK, function, from, number, 0, 0);
    publish_version(function, version, BF_REASON_ROLLBACK);
    return true;
}

/* `1 (O0->O1)`: how many recompilations, and through which levels. */
void publish_print_path(uint32_t function) {
    uint32_t published = paths[function].published;

    kprintf("%u", published - 1);
    for (uint32_t i = 0; published > 1 && i < published && i < PATH_LENGTH; i++)
        kprintf("%sO%u", i == 0 ? " (" : "->", paths[function].levels[i]);
    kprintf("%s%s\n", published > PATH_LENGTH ? "->..." : "", published > 1 ? ")" : "");
}
