/*
 * The adaptive JIT: functions are called through a published pointer, counted, and given better code when they get
 * hot, or when a host asks for it.
 */
#include "disk.h"
#include "ring.h"

#define FIRST_CALLS 16          /* CALL events: of every version, these are always told */
#define DEFAULT_CALL_SAMPLE 64

static struct state {
    uint32_t version;           /* of jit_last_code; 0 when someone else wrote the slot */
    uint32_t calls_to_sample;   /* counted down: two instructions of every call */
    function_profile_t *profile;
    struct bf_function *record;
    uint32_t calm;              /* calls to come before the thresholds need a look */
    uint8_t asked;              /* the highest level that a threshold has asked for */
    uint8_t veto_told;          /* the level whose veto has been told */
    uint8_t expects_nothing;    /* `expected` follows the last result */
    const struct embedded_module *source;
    struct bf_version_cost *cost;   /* of `version` */
    uint32_t sample_call;       /* the call of the version whose cycles are kept next */
    uint32_t unused[3];
} states[BF_MAX_FUNCTIONS];

/* So that one index finds both in the dispatcher: two instructions of every call. */
_Static_assert(sizeof(struct state) == sizeof(jit_function_entry_t), "state and entry differ in size");

static uint32_t depth;          /* frames of JIT code on the stack */

void adaptive_jit_init(void) {
    adaptive_jit.enabled = 1;
    adaptive_jit.profiler.jit_enabled = 1;
    kprintf("[ADAPTIVE-JIT] Initialized\n");
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
    const char *module_name = tier_attach(record);
    states[function].source = source;
    /* No threshold has anything left to ask for. */
    states[function].asked = bareflow_root.asks == BF_ASKS_APPLICATION ? BF_LEVELS - 1 : 0;
    record->profiler_id = profiler_register(record->name, module_name, 0);
    if (record->profiler_id == NO_FUNCTION)
        return NO_FUNCTION;
    states[function].record = record;
    states[function].profile = &adaptive_jit.profiler.functions[record->profiler_id];
    entry->profiler_id = record->profiler_id;
    uint32_t failure = tier_make(function, source, 0, BF_REASON_INITIAL, &version);
    if (failure != BF_REASON_NONE) {
        publish_reject(function, failure, 0, 0);
        return NO_FUNCTION;
    }
    tier_find_bitcode(record, source);
    entry->is_active = 1;
    publish_initial(function, version);
    adaptive_jit.function_count++;
    bareflow_status.function_count = adaptive_jit.function_count;
    event(BF_EVENT_JIT_REGISTER, function, record->slot, version->code, record->profiler_id, 0);
    if (HOOKED(BF_HOOK_REGISTER))
        bareflow_hook_register(function, record->name);
    return function;
}

void adaptive_jit_expect_nothing(uint32_t function) {
    states[function].expects_nothing = 1;
}

/*
 * A new version by the function's own provider, published at once; by the host when the guest has no such tier but
 * the bitcode. Only at a safe point. False = nothing was published yet.
 */
static bool recompile(uint32_t function, uint32_t level, uint32_t reason) {
    const struct bf_function *record = &function_table[function];
    uint32_t provider = record->provider;
    struct bf_version *version = NULL;

    if (provider == BF_PROVIDER_HOST)
        return mailbox_request(function, level, reason);
    publish_phase(function, BF_PHASE_REQUESTED, level);
    event(BF_EVENT_COMPILE_BEGIN, function, level, provider, 0, 0);
    uint32_t failure = tier_make(function, states[function].source, level, reason, &version);
    event(BF_EVENT_COMPILE_END, function, level, provider, 0, failure);
    if (failure == BF_REASON_NO_BITCODE && record->bitcode != 0)
        return mailbox_request(function, level, reason);
    if (failure != BF_REASON_NONE) {
        kprintf("[RECOMPILE] %s: O%u rejected: %s\n", record->name, level, reason_text(failure));
        publish_reject(function, failure, 0, level);
        return false;
    }
    publish_version(function, version, reason);
    return true;
}

bool adaptive_jit_ask(uint32_t function, uint32_t level) {
    if (depth != 0)
        return false;
    if (mail_slots[function].control == BF_CONTROL_VETO) {
        kprintf("[VETO] %s: stays at O%u\n", function_table[function].name, function_table[function].level);
        event(BF_EVENT_VETO, function, level, BF_REASON_APPLICATION, 0, 0);
        return false;
    }
    states[function].profile->is_hot = 1;
    return recompile(function, level, BF_REASON_APPLICATION);
}

bool adaptive_jit_ask_host(uint32_t function, uint32_t level) {
    return depth == 0 && function_table[function].bitcode != 0 &&
           mailbox_request(function, level, BF_REASON_APPLICATION);
}

static void force(uint32_t function, uint32_t level) {
    kprintf("[CONTROL] %s: force O%u\n", function_table[function].name, level);
    if (level >= BF_LEVELS)
        publish_reject(function, BF_REASON_BAD_BOUNDS, 0, level);
    else if (level != function_table[function].level)
        recompile(function, level, BF_REASON_FORCED);
}

static void roll_back(uint32_t function, uint32_t number) {
    const struct bf_function *record = &function_table[function];

    kprintf("[CONTROL] %s: roll back to version %u\n", record->name, number);
    if (publish_roll_back(function, number))
        return;
    kprintf("[CONTROL] %s: version %u is not a retired one of this function\n", record->name, number);
    publish_reject(function, BF_REASON_ROLLBACK, 0, record->level);
}

/* A control word changes when its work is done: the host waits for that. */
static void obey(uint32_t function) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];
    uint32_t argument = slot->control_argument;

    if (slot->control == BF_CONTROL_FORCE) {
        slot->refusal = BF_REASON_NONE;
        force(function, argument);
        __atomic_store_n(&slot->control, BF_CONTROL_ALLOW, __ATOMIC_RELEASE);
    } else if (slot->control == BF_CONTROL_ROLLBACK) {
        slot->refusal = BF_REASON_NONE;
        roll_back(function, argument);
        __atomic_store_n(&slot->control, BF_CONTROL_VETO, __ATOMIC_RELEASE);
    }
}

static __attribute__((noinline)) void serve_host(void) {
    bool rung = mailbox_take_ring();

    for (uint32_t function = 0; function < adaptive_jit.function_count; function++) {
        bool was_active = (mailbox_active & 1u << function) != 0;
        if (rung)
            obey(function);
        if (was_active)
            mailbox_advance(function);
        if (rung || was_active)
            mailbox_answer(function);
    }
    /* Last: what was ordered about a function before is done before its code becomes another. */
    if (rung && module_orders_obey)
        module_orders_obey();
}

void adaptive_jit_safe_point(void) {
    if (depth == 0 && (mail_header->doorbell | mailbox_active) != 0)
        serve_host();
}

/* A debugger or a test sets itself up while this waits; the mailbox is served meanwhile. */
void adaptive_jit_wait_while_held(void) {
    while (SETTING(hold)) {
        adaptive_jit_safe_point();
        if (mailbox_waiting())
            cpu_pause();
        else
            cpu_idle();
    }
}

/* Calls of the version that is published, those that have returned. */
static uint32_t version_calls(const struct state *state) {
    return state->sample_call - state->calls_to_sample;
}

/* What the calls cost is measured per version from here on; `calls`: of the function, with this one. */
static void begin_stretch(struct state *state, const struct bf_version *version, uint64_t calls) {
    /* Not running: the record has become that of another version. */
    if (state->cost != NULL && state->cost->running) {
        state->cost->calls += version_calls(state);
        state->cost->running = 0;
    }
    state->cost = version == NULL ? NULL : &version_costs[version - version_table];
    state->sample_call = state->calls_to_sample = UINT32_MAX;
    if (state->cost == NULL)
        return;
    if (state->cost->every == 0)
        state->cost->every = 1;
    state->cost->since = calls - 1;
    state->cost->running = 1;
    state->sample_call = state->calls_to_sample = state->cost->every;
}

/* The first call of a version is the slowest, and goes with the first samples that are dropped. */
static __attribute__((noinline)) void keep_sample(struct state *state, uint64_t cycles) {
    struct bf_version_cost *cost = state->cost;

    if (cost == NULL)
        return;
    if (cost->taken == BF_COST_SAMPLES) {
        for (uint32_t i = 0; i < BF_COST_SAMPLES / 2; i++)
            cost->cycles[i] = cost->cycles[2 * i + 1];
        cost->taken = BF_COST_SAMPLES / 2;
        cost->every *= 2;
    }
    cost->cycles[cost->taken++] = cycles > UINT32_MAX ? UINT32_MAX : (uint32_t)cycles;
    state->sample_call += cost->every;
    state->calls_to_sample = cost->every;
}

static __attribute__((noinline)) void note_first_call(uint32_t function, bf_ptr code) {
    uint64_t calls = states[function].profile->call_count;
    struct bf_version *version = version_at_entry(function, code);

    jit_last_code[function] = code;
    begin_stretch(&states[function], version, calls);
    states[function].version = version == NULL ? 0 : version->number;
    jit_not_yet_called &= ~(1u << function);
    if (mail_slots[function].phase >= BF_PHASE_PUBLISHED) {
        publish_phase(function, BF_PHASE_FIRST_CALL, mail_slots[function].phase_level);
        mail_slots[function].phase = BF_PHASE_NONE;
    }
    if (cache_mark_used)
        cache_mark_used(function_table[function].name, function_table[function].level);
    if (version == NULL || version->tsc_first != 0)
        return;
    version->tsc_first = rdtsc();
    event(BF_EVENT_FIRST_EXECUTION, function, version->number, code, (uint32_t)calls, (uint32_t)(calls >> 32));
}

/* Each threshold asks once for its level; a vetoed one goes on asking, and says so once. */
static void check_thresholds(uint32_t function) {
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
    recompile(function, wanted, BF_REASON_THRESHOLD);
}

static __attribute__((noinline)) void look_closer(uint32_t function) {
    check_thresholds(function);
    if (states[function].expects_nothing) {
        function_table[function].expected = function_table[function].last_result;
        states[function].calm = 0;
    }
}

static bool sampled(uint32_t calls) {
    uint32_t every = SETTING(call_sample) != 0 ? SETTING(call_sample) : DEFAULT_CALL_SAMPLE;
    return calls <= FIRST_CALLS || calls % every == 0;
}

static __attribute__((noinline)) void tell_call(uint32_t function, int32_t a, int32_t b, int32_t result) {
    if (sampled(version_calls(&states[function])))
        ring_emit(BF_EVENT_CALL, function, states[function].version, (uint32_t)a, (uint32_t)b, (uint32_t)result);
}

/* The dispatcher: calls a function through its slot, measures the call, and looks at the thresholds. */
int32_t adaptive_jit_call(uint32_t function, int32_t a, int32_t b) {
    adaptive_jit_safe_point();
    struct state *state = &states[function];
    bf_ptr code = __atomic_load_n(&adaptive_jit.functions[function].current_code, __ATOMIC_ACQUIRE);

    state->profile->call_count++;
    if (code != jit_last_code[function])
        note_first_call(function, code);
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
    if (--state->calls_to_sample == 0)
        keep_sample(state, cycles);
    if ((ring0->type_mask & 1u << BF_EVENT_CALL) != 0)
        tell_call(function, a, b, result);
    if (state->calm-- == 0)
        look_closer(function);
    return result;
}
