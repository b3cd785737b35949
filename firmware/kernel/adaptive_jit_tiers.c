/*
 * Where the next version of a function comes from inside the guest: the micro-JIT, or a tier compiled at build time,
 * which is in the cache, on disk, or embedded.
 */
#include "disk.h"
#include "microjit.h"

#define MICRO_JIT_BYTES 256
#define MICRO_JIT_LEVEL 1

/* The functions that the micro-JIT can make, and the variable that their versions share. */
static const struct {
    const char *function;
    const char *variable;
    size_t (*emit)(uint8_t *buffer, size_t capacity, uint32_t variable);
} patterns[] = {
    {"fibonacci", "fibonacci_seed", microjit_emit_fibonacci},
    {"sum", "sum_calls", microjit_emit_sum},
};
#define PATTERNS (sizeof patterns / sizeof patterns[0])

static uint32_t pattern_of(const char *function) {
    uint32_t i = 0;

    while (i < PATTERNS && strcmp(patterns[i].function, function) != 0)
        i++;
    return i;
}

static bf_ptr shared_variable(const struct bf_function *record, const char *name) {
    const struct bf_symbol *symbols = (const struct bf_symbol *)record->symbols;

    for (uint32_t i = 0; i < record->symbol_count; i++)
        if (strcmp(symbols[i].name, name) == 0)
            return symbols[i].address;
    return 0;
}

/* Micro-JIT when a pattern makes this function, and its module has the variable that the pattern needs. */
static uint32_t provider_of(const struct bf_function *record) {
    uint32_t pattern = pattern_of(record->name);

    return pattern < PATTERNS && shared_variable(record, patterns[pattern].variable) != 0 ? BF_PROVIDER_MICRO_JIT
                                                                                          : BF_PROVIDER_PRECOMPILED;
}

const char *tier_attach(struct bf_function *record) {
    module_symbols(record->module, &record->symbols, &record->symbol_count);
    record->provider = provider_of(record);
    return module_manager.modules[record->module].name;
}

/* Embedded, or from disk; without any the host cannot compile the function. */
void tier_find_bitcode(struct bf_function *record, const struct embedded_module *source) {
    record->bitcode = (bf_ptr)source->bitcode;
    record->bitcode_size = source->bitcode_size;
    if (record->bitcode == 0 && !bitcode_load(record->module, &record->bitcode, &record->bitcode_size)) {
        record->bitcode = 0;
        record->bitcode_size = 0;
    }
}

static bf_ptr make_room_for(uint32_t pool, uint32_t size, uint32_t version) {
    bf_ptr address = pool_alloc(pool, size, BF_OWNER_VERSION, version);

    if (address != 0)
        return address;
    version_make_room();
    return pool_alloc(pool, size, BF_OWNER_VERSION, version);
}

static uint32_t emit(uint32_t function, struct bf_version *version) {
    const struct bf_function *record = &function_table[function];
    uint32_t pattern = pattern_of(record->name);
    struct module_parts parts = {.code = make_room_for(BF_POOL_CODE, MICRO_JIT_BYTES, version->number)};

    if (parts.code == 0)
        return BF_REASON_NO_MEMORY;
    version->code = parts.entry = parts.code;
    size_t bytes = patterns[pattern].emit((uint8_t *)parts.code, MICRO_JIT_BYTES,
                                          shared_variable(record, patterns[pattern].variable));
    if (bytes == 0)
        return BF_REASON_BAD_BOUNDS;
    pool_shrink(BF_POOL_CODE, parts.code, (uint32_t)bytes);
    if (version->reason != BF_REASON_INITIAL)
        publish_phase(function, BF_PHASE_COMPILED, version->level);
    version_emitted(version, &parts, (uint32_t)bytes, 0);
    return BF_REASON_NONE;
}

/* O0 is what the module was registered with; better code comes from the cache first, which asks the disk. */
static bool find_image(const struct embedded_module *source, uint32_t level, const uint8_t **bytes, uint32_t *size) {
    if (level != 0 && cache_get(source->name, level, bytes, size))
        return true;
    *bytes = source->image[level];
    *size = source->image_size[level];
    return *bytes != NULL;
}

static uint32_t open_tier(uint32_t function, const struct embedded_module *source, uint32_t level,
                          struct module_image *image) {
    const struct bf_module_image *loaded = &module_images[function_table[function].module];
    struct module_image base;
    const uint8_t *bytes;
    uint32_t size;

    if (!find_image(source, level, &bytes, &size))
        return BF_REASON_NO_BITCODE;
    const char *wrong = module_image_open(image, bytes, size);
    if (wrong == NULL)
        wrong = module_image_tier(image, level);
    if (wrong == NULL)
        wrong = module_image_open(&base, (const void *)loaded->image, loaded->image_size);
    if (wrong == NULL && !module_image_same_data(image, &base))
        wrong = "its data is laid out differently";
    if (wrong == NULL)
        return BF_REASON_NONE;
    kprintf("[RECOMPILE] %s: O%u refused: %s\n", source->name, level, wrong);
    return BF_REASON_LINK_FAILED;
}

static uint32_t place(uint32_t function, const struct module_image *image, struct bf_version *version) {
    bf_ptr data = module_images[function_table[function].module].data;
    struct module_parts parts;

    if (!module_image_place(image, data, BF_OWNER_VERSION, version->number, &parts)) {
        version_make_room();
        if (!module_image_place(image, data, BF_OWNER_VERSION, version->number, &parts))
            return BF_REASON_NO_MEMORY;
    }
    version_emitted(version, &parts, image->tail.code_size, image->tail.rodata_size);
    return BF_REASON_NONE;
}

/* A version of an image that the host brought, whose data is laid out like that of the function's module. */
uint32_t tier_from_host(uint32_t function, const struct module_image *image, uint32_t level, struct bf_version **made) {
    *made = version_new(function, level, BF_PROVIDER_HOST, BF_REASON_HOST_ASKED);
    if (*made == NULL)
        return BF_REASON_NO_MEMORY;
    uint32_t failure = place(function, image, *made);
    if (failure != BF_REASON_NONE)
        version_free(*made, failure);
    return failure;
}

/*
 * Returns why there is no new version, BF_REASON_NONE when there is one. BF_REASON_NO_BITCODE: this level exists
 * nowhere in the guest.
 */
uint32_t tier_make(uint32_t function, const struct embedded_module *source, uint32_t level, uint32_t reason,
                   struct bf_version **made) {
    bool micro = level == MICRO_JIT_LEVEL && function_table[function].provider == BF_PROVIDER_MICRO_JIT;
    struct module_image image;

    uint32_t failure = micro ? BF_REASON_NONE : open_tier(function, source, level, &image);
    if (failure != BF_REASON_NONE)
        return failure;
    *made = version_new(function, level, micro ? BF_PROVIDER_MICRO_JIT : BF_PROVIDER_PRECOMPILED, reason);
    if (*made == NULL)
        return BF_REASON_NO_MEMORY;
    if (!micro && reason != BF_REASON_INITIAL)
        publish_phase(function, BF_PHASE_COMPILED, level);
    failure = micro ? emit(function, *made) : place(function, &image, *made);
    if (failure != BF_REASON_NONE)
        version_free(*made, failure);
    return failure;
}
