/*
 * The adaptive JIT: functions are called through a published pointer, counted, and given better code when they get
 * hot. A version is published, and a retired one freed, only at a safe point: in the dispatcher or the idle loop,
 * with no frame of JIT code below it.
 */
#include "disk.h"
#include "ring.h"

#define FIRST_CALLS 16          /* CALL events: of every version, these are always told */
#define DEFAULT_CALL_SAMPLE 64
#define KEEP_RETIRED 4          /* per function: what a debugger may still read, and roll back to */
#define PATH_LENGTH 12

adaptive_jit_t adaptive_jit;
struct bf_function function_table[BF_MAX_FUNCTIONS];
uint32_t jit_not_yet_called;

static struct state {
    bf_ptr last_code;           /* what the last call went through; 0 after a publish */
    uint32_t version;           /* its number, 0 when someone else wrote the slot */
    uint32_t version_calls;
    function_profile_t *profile;
    struct bf_function *record;
    uint32_t calm;              /* calls to come before the thresholds need a look */
    uint8_t asked;              /* the highest level that a threshold has asked for */
    uint8_t veto_told;          /* the level whose veto has been told */
    uint8_t due;                /* the level to ask the host for when its mailbox slot is free; 0 = none */
    uint8_t path[PATH_LENGTH];  /* the first levels published */
    uint32_t published;
    const struct embedded_module *source;
} states[BF_MAX_FUNCTIONS];

static uint32_t depth;          /* frames of JIT code on the stack */

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
    };
    return reason < sizeof texts / sizeof texts[0] ? texts[reason] : "unknown reason";
}

void adaptive_jit_init(void) {
    memset(&adaptive_jit, 0, sizeof adaptive_jit);
    memset(function_table, 0, sizeof function_table);
    memset(states, 0, sizeof states);
    adaptive_jit.enabled = 1;
    adaptive_jit.profiler.jit_enabled = 1;
    kprintf("[ADAPTIVE-JIT] Initialized\n");
}

static void set_code_of_level(jit_function_entry_t *entry, uint32_t level, bf_ptr code) {
    uint32_t *const slots[BF_LEVELS] = {&entry->code_v0, &entry->code_v1, &entry->code_v2, &entry->code_v3};
    *slots[level] = code;
}

static void note_published(uint32_t function, struct bf_version *version, uint64_t tsc) {
    struct bf_function *record = &function_table[function];
    jit_function_entry_t *entry = &adaptive_jit.functions[function];
    function_profile_t *profile = states[function].profile;

    version->state = BF_VERSION_PUBLISHED;
    version->tsc_published = tsc;
    record->version = version->number;
    record->level = version->level;
    entry->jit_ctx = (jit_context_t){.code_buffer = version->code, .code_size = version->code_size,
                                     .code_capacity = ((block_header_t *)version->code - 1)->size,
                                     .allocator = (uint32_t)g_pools};
    set_code_of_level(entry, version->level, version->entry);
    profile->address = version->entry;
    profile->opt_level = version->level;
    profile->needs_recompile = 0;
    states[function].last_code = 0;
    if (states[function].published < PATH_LENGTH)
        states[function].path[states[function].published] = version->level;
    states[function].published++;
}

void adaptive_jit_reject(uint32_t function, uint32_t reason, uint32_t request, uint32_t level) {
    event(BF_EVENT_REJECT, function, reason, request, level, 0);
    if (HOOKED(BF_HOOK_REJECT))
        bareflow_hook_reject(function, reason);
}

/* Only at a safe point. The old version is retired, and the oldest retired ones are freed. */
void adaptive_jit_publish(uint32_t function, struct bf_version *version, uint32_t reason) {
    struct bf_function *record = &function_table[function];
    jit_function_entry_t *entry = &adaptive_jit.functions[function];
    struct bf_version *old = version_find(record->version);
    bf_ptr old_code = entry->current_code;

    kprintf("[RECOMPILE] %s: O%u -> O%u\n", record->name, record->level, version->level);
    const struct bf_version *same = version->same_as == 0 ? NULL : version_find(version->same_as);
    if (same != NULL)
        kprintf("[RECOMPILE] %s: O%u code equals O%u\n", record->name, version->level, same->level);
    adaptive_jit_swap_code(entry, version->entry, version->level);
    uint64_t now = rdtsc();
    event(BF_EVENT_PUBLISH, function, (uint32_t)&entry->current_code, old_code, version->entry,
          version->number << 8 | reason << 3 | version->level);
    bareflow_status.swap_count++;
    record->tsc_last_swap = now;
    note_published(function, version, now);
    jit_not_yet_called |= 1u << function;
    if (old != NULL && old != version) {
        old->state = BF_VERSION_RETIRED;
        old->tsc_retired = now;
        event(BF_EVENT_RETIRE, function, old->number, old->code, old->code_size,
              reason == BF_REASON_ROLLBACK ? BF_REASON_ROLLBACK : BF_REASON_REPLACED);
    }
    kprintf("[ATOMIC-SWAP] Code pointer updated to O%u\n", version->level);
    if (HOOKED(BF_HOOK_SWAP))
        bareflow_hook_swap(function, old_code, version->entry, version->number);
    cache_mark_published(record->name, version->provider == BF_PROVIDER_PRECOMPILED ? version->level : BF_LEVELS);
    version_free_retired(function, KEEP_RETIRED);
}

/* Embedded, or from disk; without any the host cannot compile the function. */
static void find_bitcode(struct bf_function *record, const struct embedded_module *source, uint32_t module) {
    record->bitcode = (bf_ptr)source->bitcode;
    record->bitcode_size = source->bitcode_size;
    if (record->bitcode == 0 && !bitcode_load(module, &record->bitcode, &record->bitcode_size)) {
        record->bitcode = 0;
        record->bitcode_size = 0;
    }
}

uint32_t adaptive_jit_register_function(const struct embedded_module *source, uint32_t module) {
    uint32_t function = adaptive_jit.function_count;
    struct bf_version *version = NULL;

    if (function == BF_MAX_FUNCTIONS)
        return NO_FUNCTION;
    struct bf_function *record = &function_table[function];
    jit_function_entry_t *entry = &adaptive_jit.functions[function];
    *record = (struct bf_function){
        .arguments = {source->arguments[0], source->arguments[1]},
        .expected = source->expected,
        .slot = (bf_ptr)&entry->current_code,
        .module = module,
    };
    strncpy(record->name, source->name, sizeof record->name - 1);
    module_symbols(module, &record->symbols, &record->symbol_count);
    record->provider = tier_provider(record);
    states[function].source = source;
    record->profiler_id = profiler_register(record->name, module_manager.modules[module].name, 0);
    if (record->profiler_id == NO_FUNCTION)
        return NO_FUNCTION;
    states[function].record = record;
    states[function].profile = &adaptive_jit.profiler.functions[record->profiler_id];
    entry->profiler_id = record->profiler_id;
    uint32_t failure = tier_make(function, source, 0, BF_REASON_INITIAL, &version);
    if (failure != BF_REASON_NONE) {
        adaptive_jit_reject(function, failure, 0, 0);
        return NO_FUNCTION;
    }
    find_bitcode(record, source, module);
    entry->current_code = version->entry;
    entry->is_active = 1;
    note_published(function, version, rdtsc());
    adaptive_jit.function_count++;
    bareflow_status.function_count = adaptive_jit.function_count;
    event(BF_EVENT_JIT_REGISTER, function, record->slot, version->code, record->profiler_id, 0);
    if (HOOKED(BF_HOOK_REGISTER))
        bareflow_hook_register(function, record->name);
    return function;
}

/* One request at a time: what comes due meanwhile waits, and only the highest level of it. */
static bool ask_host(uint32_t function, uint32_t level, uint32_t reason) {
    if ((mailbox_active & 1u << function) == 0)
        return mailbox_request(function, level, reason);
    if (reason == BF_REASON_THRESHOLD)
        states[function].due = (uint8_t)level;
    return false;
}

/* The mailbox calls it when a slot has become idle. */
void adaptive_jit_host_free(uint32_t function) {
    uint32_t level = states[function].due;

    states[function].due = 0;
    if (level > function_table[function].level)
        mailbox_request(function, level, BF_REASON_THRESHOLD);
}

/*
 * A new version by the function's own provider, published at once; by the host when the guest has no such tier but
 * the bitcode. Only at a safe point. False = nothing was published yet.
 */
bool adaptive_jit_recompile(uint32_t function, uint32_t level, uint32_t reason) {
    const struct bf_function *record = &function_table[function];
    uint32_t provider = record->provider;
    struct bf_version *version = NULL;

    if (provider == BF_PROVIDER_HOST)
        return ask_host(function, level, reason);
    event(BF_EVENT_COMPILE_BEGIN, function, level, provider, 0, 0);
    uint32_t failure = tier_make(function, states[function].source, level, reason, &version);
    event(BF_EVENT_COMPILE_END, function, level, provider, 0, failure);
    if (failure == BF_REASON_NO_BITCODE && record->bitcode != 0)
        return ask_host(function, level, reason);
    if (failure != BF_REASON_NONE) {
        kprintf("[RECOMPILE] %s: O%u rejected: %s\n", record->name, level, reason_text(failure));
        adaptive_jit_reject(function, failure, 0, level);
        return false;
    }
    adaptive_jit_publish(function, version, reason);
    return true;
}

/* False when the version is not one of the function's, or no longer has code. */
bool adaptive_jit_roll_back(uint32_t function, uint32_t number) {
    struct bf_version *version = version_find(number);
    uint32_t from = function_table[function].version;

    if (version == NULL || version->function != function || version->state != BF_VERSION_RETIRED)
        return false;
    event(BF_EVENT_ROLLBACK, function, from, number, 0, 0);
    adaptive_jit_publish(function, version, BF_REASON_ROLLBACK);
    return true;
}

void adaptive_jit_safe_point(void) {
    if (depth == 0 && (mail_header->doorbell | mailbox_active) != 0)
        mailbox_serve();
}

static __attribute__((noinline)) void note_first_call(uint32_t function, bf_ptr code) {
    uint64_t calls = states[function].profile->call_count;
    struct bf_version *version = version_at_entry(function, code);

    states[function].last_code = code;
    states[function].version = version == NULL ? 0 : version->number;
    states[function].version_calls = 0;
    jit_not_yet_called &= ~(1u << function);
    cache_mark_used(function_table[function].name, function_table[function].level);
    if (version == NULL || version->tsc_first != 0)
        return;
    version->tsc_first = rdtsc();
    event(BF_EVENT_FIRST_EXECUTION, function, version->number, code, (uint32_t)calls, (uint32_t)(calls >> 32));
}

/* Each threshold asks once for its level; a vetoed one goes on asking, and says so once. */
static __attribute__((noinline)) void check_thresholds(uint32_t function) {
    struct bf_function *record = &function_table[function];
    function_profile_t *profile = states[function].profile;
    uint64_t calls = profile->call_count;
    uint32_t wanted = states[function].asked + 1u;

    states[function].calm = 0;
    if (depth != 0)
        return;
    if (wanted == BF_LEVELS) {
        states[function].calm = UINT32_MAX;
        return;
    }
    uint32_t threshold = SETTING(thresholds[wanted - 1]);
    if (calls < threshold) {
        states[function].calm = threshold - (uint32_t)calls - 1;
        return;
    }
    profile->is_hot = 1;
    if (record->level >= wanted) {
        states[function].asked = (uint8_t)wanted;
        return;
    }
    if (mail_slots[function].control == BF_CONTROL_VETO) {
        if (states[function].veto_told != wanted) {
            states[function].veto_told = (uint8_t)wanted;
            kprintf("[VETO] %s: stays at O%u\n", record->name, record->level);
            event(BF_EVENT_VETO, function, wanted, BF_REASON_THRESHOLD, 0, 0);
        }
        return;
    }
    states[function].asked = (uint8_t)wanted;
    profile->needs_recompile = 1;
    threshold_met[function] = (struct bf_version_cause){.calls = calls, .tsc = rdtsc()};
    event(BF_EVENT_THRESHOLD, function, (uint32_t)calls, record->level, wanted, (uint32_t)(calls >> 32));
    adaptive_jit_recompile(function, wanted, BF_REASON_THRESHOLD);
}

static bool sampled(uint32_t version_calls) {
    uint32_t every = SETTING(call_sample) != 0 ? SETTING(call_sample) : DEFAULT_CALL_SAMPLE;
    return version_calls <= FIRST_CALLS || version_calls % every == 0;
}

static __attribute__((noinline)) void tell_call(uint32_t function, int32_t a, int32_t b, int32_t result) {
    if (sampled(states[function].version_calls))
        ring_emit(BF_EVENT_CALL, function, states[function].version, (uint32_t)a, (uint32_t)b, (uint32_t)result);
}

/* The dispatcher: calls a function through its slot, measures the call, and looks at the thresholds. */
int32_t adaptive_jit_call(uint32_t function, int32_t a, int32_t b) {
    adaptive_jit_safe_point();
    struct state *state = &states[function];
    bf_ptr code = __atomic_load_n(&adaptive_jit.functions[function].current_code, __ATOMIC_ACQUIRE);

    state->profile->call_count++;
    if (code != state->last_code)
        note_first_call(function, code);
    state->version_calls++;
    depth++;
    uint64_t start = rdtsc();
    int32_t result = ((jit_code_t)code)(a, b);
    uint64_t cycles = rdtsc() - start;
    depth--;
    function_profile_t *profile = state->profile;
    adaptive_jit.profiler.total_calls++;
    profile->total_cycles += cycles;
    if (cycles < profile->min_cycles)
        profile->min_cycles = cycles;
    if (cycles > profile->max_cycles)
        profile->max_cycles = cycles;
    state->record->last_result = result;
    if ((ring0->type_mask & 1u << BF_EVENT_CALL) != 0)
        tell_call(function, a, b, result);
    if (state->calm-- == 0)
        check_thresholds(function);
    return result;
}

/* `1 (O0->O1)`: how many recompilations, and through which levels. */
void adaptive_jit_print_path(uint32_t function) {
    uint32_t published = states[function].published;

    kprintf("%u", published - 1);
    for (uint32_t i = 0; published > 1 && i < published && i < PATH_LENGTH; i++)
        kprintf("%sO%u", i == 0 ? " (" : "->", states[function].path[i]);
    kprintf("%s%s\n", published > PATH_LENGTH ? "->..." : "", published > 1 ? ")" : "");
}
