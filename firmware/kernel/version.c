/* The functions and their versions: which code was made for which, when it was published, what became of it. */
#include "defs.h"

struct bf_function function_table[BF_MAX_FUNCTIONS];
struct bf_version version_table[BF_MAX_VERSIONS];
struct bf_version_cause version_causes[BF_MAX_VERSIONS];
struct bf_version_cost version_costs[BF_MAX_VERSIONS];
struct bf_version_cause threshold_met[BF_MAX_FUNCTIONS];    /* when each function last met one */

/* A record is used again only when its version was freed; the oldest such one, so that history lasts. */
static struct bf_version *free_record(void) {
    struct bf_version *oldest = NULL;

    for (uint32_t i = 0; i < BF_MAX_VERSIONS; i++) {
        struct bf_version *version = &version_table[i];
        if (version->state == BF_VERSION_NONE)
            return version;
        if (version->state == BF_VERSION_FREED && (oldest == NULL || version->number < oldest->number))
            oldest = version;
    }
    return oldest;
}

struct bf_version *version_new(uint32_t function, uint32_t level, uint32_t provider, uint32_t reason) {
    struct bf_version *version = free_record();

    if (version == NULL)
        return NULL;
    *version = (struct bf_version){.number = ++bareflow_status.version_count, .function = (uint16_t)function,
                                   .level = (uint8_t)level, .state = BF_VERSION_ALLOCATED,
                                   .provider = (uint8_t)provider, .reason = (uint16_t)reason};
    version_causes[version - version_table] =
        reason == BF_REASON_THRESHOLD ? threshold_met[function] : (struct bf_version_cause){0};
    memset(&version_costs[version - version_table], 0, sizeof version_costs[0]);
    bareflow_status.version_costs = (bf_ptr)version_costs;
    return version;
}

struct bf_version *version_find(uint32_t number) {
    for (uint32_t i = 0; i < BF_MAX_VERSIONS; i++)
        if (version_table[i].state != BF_VERSION_NONE && version_table[i].number == number)
            return &version_table[i];
    return NULL;
}

static bool has_code(const struct bf_version *version) {
    return version->state == BF_VERSION_PUBLISHED || version->state == BF_VERSION_RETIRED ||
           version->state == BF_VERSION_EMITTED;
}

/* NULL: no version begins there; someone else wrote the slot. */
struct bf_version *version_at_entry(uint32_t function, bf_ptr entry) {
    for (uint32_t i = 0; i < BF_MAX_VERSIONS; i++)
        if (has_code(&version_table[i]) && version_table[i].function == function && version_table[i].entry == entry)
            return &version_table[i];
    return NULL;
}

/*
 * Compares code as it stands in memory, except for words that point at equal places in each version's own read-only
 * data, which is compared as well.
 */
static bool same_code(const struct bf_version *a, const struct bf_version *b) {
    if (a->code_size != b->code_size || a->rodata_size != b->rodata_size)
        return false;
    if (a->rodata_size != 0 && memcmp((const void *)a->rodata, (const void *)b->rodata, a->rodata_size) != 0)
        return false;
    const uint8_t *left = (const uint8_t *)a->code;
    const uint8_t *right = (const uint8_t *)b->code;
    uint32_t i = 0;
    while (i < a->code_size) {
        if (left[i] == right[i]) {
            i++;
            continue;
        }
        /* The words may differ first in any of their bytes. */
        uint32_t back = 0;
        for (; back < 4; back++) {
            uint32_t x, y;
            if (back > i || i - back + 4 > a->code_size)
                continue;
            memcpy(&x, left + i - back, 4);
            memcpy(&y, right + i - back, 4);
            if (x - a->rodata < a->rodata_size && x - a->rodata == y - b->rodata)
                break;
        }
        if (back == 4)
            return false;
        i = i - back + 4;
    }
    return true;
}

static uint32_t find_same(const struct bf_version *version) {
    uint32_t oldest = 0;

    for (uint32_t i = 0; i < BF_MAX_VERSIONS; i++) {
        const struct bf_version *other = &version_table[i];
        if (other != version && has_code(other) && other->function == version->function &&
            other->number < version->number && same_code(version, other) && (oldest == 0 || other->number < oldest))
            oldest = other->number;
    }
    return oldest;
}

void version_emitted(struct bf_version *version, const struct module_parts *parts, uint32_t code_size,
                     uint32_t rodata_size) {
    version->code = parts->code;
    version->code_size = code_size;
    version->code_crc = crc32((const void *)parts->code, code_size);
    version->rodata = parts->rodata;
    version->rodata_size = rodata_size;
    version->entry = parts->entry;
    version->state = BF_VERSION_EMITTED;
    version->same_as = find_same(version);
    event(BF_EVENT_EMIT, version->function, version->code, code_size, version->code_crc, version->number);
    /* A function's first version replaces nothing. */
    if (version->reason != BF_REASON_INITIAL)
        publish_phase(version->function, BF_PHASE_COPIED, version->level);
}

/* The caller is at a safe point: no frame of the function is on the stack. */
void version_free(struct bf_version *version, uint32_t reason) {
    if (version->code != 0)
        pool_free(BF_POOL_CODE, version->code);
    if (version->rodata != 0)
        pool_free(BF_POOL_DATA, version->rodata);
    version->state = BF_VERSION_FREED;
    event(BF_EVENT_FREE, version->function, version->number, version->code, version->code_size, reason);
}

/* Gives up what is only kept for debuggers. The caller is at a safe point. */
void version_make_room(void) {
    for (uint32_t function = 0; function < bareflow_status.function_count; function++)
        version_free_retired(function, 0);
}

void version_free_retired(uint32_t function, uint32_t keep) {
    for (;;) {
        struct bf_version *oldest = NULL;
        uint32_t retired = 0;
        for (uint32_t i = 0; i < BF_MAX_VERSIONS; i++) {
            struct bf_version *version = &version_table[i];
            if (version->state != BF_VERSION_RETIRED || version->function != function)
                continue;
            retired++;
            if (oldest == NULL || version->tsc_retired < oldest->tsc_retired)
                oldest = version;
        }
        if (retired <= keep)
            return;
        kprintf("[FREE] %s: version %u (O%u) freed\n", function_table[function].name, oldest->number, oldest->level);
        version_free(oldest, BF_REASON_REPLACED);
    }
}
