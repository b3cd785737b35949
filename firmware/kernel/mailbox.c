/*
 * The mailbox: the host compiles, the guest installs. The guest allocates first, so that the host links for the
 * final address; it trusts nothing in a slot that it can remember itself; and it alone writes the code pool.
 */
#include "defs.h"

#define DEFAULT_CODE_BYTES 8192
#define DEFAULT_RODATA_BYTES 2048
#define SPIN_SECONDS 2

uint32_t mailbox_active;

/* What the guest remembers of the request in each slot. */
static struct {
    struct bf_version *version; /* NULL = refused before anything was allocated */
    uint32_t code_capacity;
    uint32_t rodata_capacity;
    uint32_t level;
    uint32_t due;               /* the highest level that a threshold asked for meanwhile; 0 = none */
    uint32_t reason;
    uint32_t seen;              /* the state that was told last */
    bool compile_begun;
    bool host_has_bitcode;      /* of its own, for the next request */
    uint64_t since;             /* when that was */
} requests[BF_MAX_FUNCTIONS];

void mailbox_init(void) {
    memset((void *)BF_MAILBOX_SLOTS, 0, BF_MAX_FUNCTIONS * sizeof(struct bf_mail_slot));
    memset((void *)mail_header, 0, sizeof *mail_header);
    mail_header->slot_count = BF_MAX_FUNCTIONS;
    mail_header->slot_size = sizeof(struct bf_mail_slot);
    mail_header->slots = BF_MAILBOX_SLOTS;
    mail_header->staging = BF_STAGING_BASE;
    mail_header->staging_size = BF_STAGING_SIZE;
    mail_header->module.staging = BF_MODULE_STAGING_BASE;
    mail_header->module.staging_size = BF_MODULE_STAGING_SIZE;
    __atomic_store_n(&mail_header->magic, BF_MAILBOX_MAGIC, __ATOMIC_RELEASE);
}

static const char *name_of(uint32_t function) {
    return function_table[function].name;
}

/* Tells of a state, whoever left the one before it. */
static void tell(uint32_t function, uint32_t state, uint32_t reason) {
    event(BF_EVENT_MAILBOX, function, requests[function].seen, state, reason, mail_slots[function].request);
    requests[function].seen = state;
    requests[function].since = rdtsc();
}

static void move(uint32_t function, uint32_t state, uint32_t reason) {
    tell(function, state, reason);
    __atomic_store_n(&mail_slots[function].state, state, __ATOMIC_RELEASE);
}

static void finish(uint32_t function, uint32_t state, uint32_t reason, uint32_t version) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];

    slot->reason = reason;
    slot->done_request = slot->request;
    slot->done_reason = reason;
    slot->done_version = version;
    __atomic_store_n(&slot->done_state, state, __ATOMIC_RELEASE);
    move(function, state, reason);
}

/* Gives back what the request holds. */
static void reject(uint32_t function, uint32_t reason) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];

    kprintf("[MAILBOX] %s: rejected: %s\n", name_of(function), reason_text(reason));
    publish_reject(function, reason, slot->request, requests[function].level);
    if (requests[function].version != NULL)
        version_free(requests[function].version, reason);
    requests[function].version = NULL;
    finish(function, BF_MAIL_REJECTED, reason, 0);
}

static bf_ptr allocate_part(uint32_t pool, uint32_t bytes, uint32_t version) {
    bf_ptr address = pool_alloc(pool, bytes, BF_OWNER_VERSION, version);

    if (address != 0)
        return address;
    version_make_room();
    return pool_alloc(pool, bytes, BF_OWNER_VERSION, version);
}

static bool allocate(uint32_t function, uint32_t code_bytes, uint32_t rodata_bytes) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];
    struct bf_version *version = requests[function].version;

    version->code = allocate_part(BF_POOL_CODE, code_bytes, version->number);
    version->rodata = allocate_part(BF_POOL_DATA, rodata_bytes, version->number);
    if (version->code == 0 || version->rodata == 0)
        return false;
    requests[function].code_capacity = code_bytes;
    requests[function].rodata_capacity = rodata_bytes;
    slot->code_address = version->code;
    slot->code_capacity = code_bytes;
    slot->rodata_address = version->rodata;
    slot->rodata_capacity = rodata_bytes;
    return true;
}

static void announce(uint32_t function) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];
    uint32_t level = requests[function].level;

    kprintf("[MAILBOX] %s: request %u for O%u at 0x%08x\n", name_of(function), slot->request, level,
            slot->code_address);
    publish_phase(function, BF_PHASE_REQUESTED, level);
    event(BF_EVENT_REQUEST, function, level, slot->request, slot->code_address, requests[function].reason);
    requests[function].compile_begun = false;
    move(function, BF_MAIL_REQUESTED, requests[function].reason);
}

/*
 * False when the slot is busy, or the request was refused at once. One request at a time: what a threshold asks of a
 * busy slot waits.
 */
bool mailbox_request(uint32_t function, uint32_t level, uint32_t reason) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];
    const struct bf_function *record = &function_table[function];
    uint32_t refusal = BF_REASON_NONE;

    if (mailbox_active & 1u << function) {
        if (reason == BF_REASON_THRESHOLD)
            requests[function].due = level;
        else if (reason == BF_REASON_FORCED)
            publish_reject(function, BF_REASON_CANCELLED, 0, level);
        return false;
    }
    mailbox_active |= 1u << function;
    slot->request++;
    slot->level_wanted = level;
    slot->requested_by = reason;
    slot->features = 0;
    slot->bitcode = record->bitcode;
    slot->bitcode_size = record->bitcode_size;
    requests[function].version = NULL;
    requests[function].level = level;
    requests[function].reason = reason;
    requests[function].seen = BF_MAIL_IDLE;
    if (level >= BF_LEVELS)
        refusal = BF_REASON_BAD_BOUNDS;
    else if (slot->control == BF_CONTROL_VETO)
        refusal = BF_REASON_VETOED;
    else if (record->bitcode == 0 && !requests[function].host_has_bitcode)
        refusal = BF_REASON_NO_BITCODE;
    if (refusal == BF_REASON_VETOED)
        event(BF_EVENT_VETO, function, level, reason, 0, 0);
    if (refusal == BF_REASON_NONE) {
        slot->bitcode_level = record->bitcode == 0 ? 0 : ((const bitcode_header_t *)record->bitcode)->opt_level;
        requests[function].version = version_new(function, level, BF_PROVIDER_HOST, reason);
        if (requests[function].version == NULL || !allocate(function, DEFAULT_CODE_BYTES, DEFAULT_RODATA_BYTES))
            refusal = BF_REASON_NO_MEMORY;
    }
    if (refusal != BF_REASON_NONE) {
        reject(function, refusal);
        return false;
    }
    announce(function);
    return true;
}

/* The host found the code too large for what it was given. */
static void give_more(uint32_t function) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];
    struct bf_version *version = requests[function].version;
    uint32_t code = slot->need_code > DEFAULT_CODE_BYTES ? slot->need_code : DEFAULT_CODE_BYTES;
    uint32_t rodata = slot->need_rodata > DEFAULT_RODATA_BYTES ? slot->need_rodata : DEFAULT_RODATA_BYTES;

    if (code > BF_STAGING_SIZE || rodata > BF_STAGING_SIZE || code + rodata > BF_STAGING_SIZE) {
        reject(function, BF_REASON_BAD_BOUNDS);
        return;
    }
    pool_free(BF_POOL_CODE, version->code);
    pool_free(BF_POOL_DATA, version->rodata);
    if (allocate(function, code, rodata))
        announce(function);
    else
        reject(function, BF_REASON_NO_MEMORY);
}

/* Checks where a staged segment lies, copies it to where it will run, and checks the copy. */
static uint32_t take_segment(uint32_t function, const volatile struct bf_segment *staged, bf_ptr address,
                             uint32_t capacity, uint32_t *size) {
    uint32_t offset = staged->offset;

    *size = staged->size;
    if (staged->address != address || *size > capacity || offset > BF_STAGING_SIZE ||
        *size > BF_STAGING_SIZE - offset)
        return BF_REASON_BAD_BOUNDS;
    memcpy((void *)address, (const void *)(BF_STAGING_BASE + function * BF_STAGING_SIZE + offset), *size);
    return crc32((const void *)address, *size) == staged->crc ? BF_REASON_NONE : BF_REASON_BAD_CRC;
}

/* Has the CPU what the host says that its code needs, and has the code nothing beyond that? */
static bool can_execute(const struct bf_version *version, uint32_t size, uint32_t features) {
    return (features & ~bareflow_status.cpu_features) == 0 &&
           instructions_end((const uint8_t *)version->code, size, features) == size;
}

static void keep_only(uint32_t pool, bf_ptr *address, uint32_t size) {
    if (size != 0) {
        pool_shrink(pool, *address, size);
        return;
    }
    pool_free(pool, *address);
    *address = 0;
}

static void install(uint32_t function) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];
    struct bf_version *version = requests[function].version;
    uint32_t entry_offset = slot->entry_offset;
    uint32_t level = slot->level;
    uint32_t features = slot->features;
    uint32_t code_size = 0;
    uint32_t rodata_size = 0;

    publish_phase(function, BF_PHASE_COMPILED, level);
    uint32_t reason = take_segment(function, &slot->code, version->code, requests[function].code_capacity, &code_size);
    /* A function without read-only data stages no second segment. */
    if (reason == BF_REASON_NONE && slot->rodata.size != 0)
        reason = take_segment(function, &slot->rodata, version->rodata, requests[function].rodata_capacity,
                              &rodata_size);
    if (reason == BF_REASON_NONE && (entry_offset >= code_size || level >= BF_LEVELS))
        reason = BF_REASON_BAD_BOUNDS;
    if (reason == BF_REASON_NONE && !can_execute(version, code_size, features))
        reason = BF_REASON_NOT_EXECUTABLE;
    if (reason == BF_REASON_NONE && slot->control == BF_CONTROL_VETO) {
        reason = BF_REASON_VETOED;
        event(BF_EVENT_VETO, function, level, requests[function].reason, 0, 0);
    }
    /* Meanwhile the guest found better code itself. */
    if (reason == BF_REASON_NONE && requests[function].reason == BF_REASON_THRESHOLD &&
        level <= function_table[function].level)
        reason = BF_REASON_CANCELLED;
    if (reason != BF_REASON_NONE) {
        reject(function, reason);
        return;
    }
    keep_only(BF_POOL_CODE, &version->code, code_size);
    keep_only(BF_POOL_DATA, &version->rodata, rodata_size);
    struct module_parts parts = {version->code, version->rodata, version->code + entry_offset};
    version->level = (uint8_t)level;
    version->features = (uint8_t)features;
    version_emitted(version, &parts, code_size, rodata_size);
    publish_version(function, version, requests[function].reason);
    requests[function].version = NULL;
    kprintf("[MAILBOX] %s: installed version %u at O%u\n", name_of(function), version->number, level);
    finish(function, BF_MAIL_INSTALLED, BF_REASON_NONE, version->number);
}

static void tell_compile_begun(uint32_t function) {
    if (requests[function].compile_begun)
        return;
    requests[function].compile_begun = true;
    event(BF_EVENT_COMPILE_BEGIN, function, requests[function].level, BF_PROVIDER_HOST, mail_slots[function].request,
          0);
}

static void tell_compile_ended(uint32_t function, uint32_t reason) {
    tell_compile_begun(function);
    event(BF_EVENT_COMPILE_END, function, requests[function].level, BF_PROVIDER_HOST, mail_slots[function].request,
          reason);
}

static void become_idle(uint32_t function) {
    uint32_t due = requests[function].due;

    move(function, BF_MAIL_IDLE, BF_REASON_NONE);
    mailbox_active &= ~(1u << function);
    requests[function].due = 0;
    if (due > function_table[function].level)
        mailbox_request(function, due, BF_REASON_THRESHOLD);
}

/* One step of a request, as far as the slot's state allows. Only at a safe point. */
void mailbox_advance(uint32_t function) {
    volatile struct bf_mail_slot *slot = &mail_slots[function];
    uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
    bool by_host = state != requests[function].seen;
    uint32_t reason = state == BF_MAIL_REJECTED ? slot->reason & 0x1F : BF_REASON_NONE;

    if (by_host)
        tell(function, state, reason);
    switch (state) {
    case BF_MAIL_COMPILING:
        tell_compile_begun(function);
        break;
    case BF_MAIL_READY:
        tell_compile_ended(function, BF_REASON_NONE);
        install(function);
        break;
    case BF_MAIL_NEED_MORE:
        give_more(function);
        break;
    case BF_MAIL_REJECTED:
        if (by_host) {
            tell_compile_ended(function, reason);
            reject(function, reason);
            break;
        }
        __attribute__((fallthrough));
    case BF_MAIL_INSTALLED:
        become_idle(function);
        break;
    default:
        break;
    }
}

/* What the host asks of a busy slot waits until the slot is idle. */
void mailbox_answer(uint32_t function) {
    uint32_t ask = mail_slots[function].ask;

    if (ask == 0 || (mailbox_active & 1u << function) != 0)
        return;
    mail_slots[function].ask = 0;
    requests[function].host_has_bitcode = (ask & BF_ASK_BRINGS_BITCODE) != 0;
    mailbox_request(function, (ask & ~BF_ASK_BRINGS_BITCODE) - 1, BF_REASON_HOST_ASKED);
    requests[function].host_has_bitcode = false;
}

/* True when the host rang. Lowered before the words are read: what the host writes later rings again. */
bool mailbox_take_ring(void) {
    bool rung = mail_header->doorbell != 0;

    if (rung)
        __atomic_store_n(&mail_header->doorbell, 0, __ATOMIC_SEQ_CST);
    return rung;
}

/* True while the host has work of ours, or we of its; not for ever, for a host may never answer. */
bool mailbox_waiting(void) {
    for (uint32_t function = 0; function < adaptive_jit.function_count; function++)
        if ((mailbox_active & 1u << function) != 0 &&
            rdtsc() - requests[function].since < bareflow_status.tsc_hz * SPIN_SECONDS)
            return true;
    return false;
}
