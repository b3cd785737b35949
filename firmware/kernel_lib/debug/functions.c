/*
 * The application's functions as the adaptive JIT's: in its tables, with versions in its pools, called by its
 * dispatcher. Their tiers are linked into the image, and placed into the CODE pool when they are asked for.
 */
#include "slots.h"

#include "stock_kernel.h"

#include "jit.h"

/* Index as in the function table; `image` is where the linker put a tier's code. */
static struct embedded_module sources[BF_MAX_FUNCTIONS];

const char *tier_attach(struct bf_function *record) {
    record->provider = BF_PROVIDER_PRECOMPILED;
    return "";
}

void tier_find_bitcode(struct bf_function *record, const struct embedded_module *source) {
    record->bitcode = (bf_ptr)source->bitcode;
    record->bitcode_size = source->bitcode_size;
}

static bf_ptr place(uint32_t size, uint32_t version) {
    bf_ptr code = pool_alloc(BF_POOL_CODE, size, BF_OWNER_VERSION, version);

    if (code != 0)
        return code;
    version_make_room();
    return pool_alloc(BF_POOL_CODE, size, BF_OWNER_VERSION, version);
}

uint32_t tier_make(uint32_t function, const struct embedded_module *source, uint32_t level, uint32_t reason,
                   struct bf_version **made) {
    uint32_t size = source->image_size[level];

    if (source->image[level] == NULL)
        return BF_REASON_NO_BITCODE;
    *made = version_new(function, level, BF_PROVIDER_PRECOMPILED, reason);
    if (*made == NULL)
        return BF_REASON_NO_MEMORY;
    struct module_parts parts = {.code = place(size, (*made)->number)};
    if (parts.code == 0) {
        version_free(*made, BF_REASON_NO_MEMORY);
        return BF_REASON_NO_MEMORY;
    }
    parts.entry = parts.code;
    if (reason != BF_REASON_INITIAL)
        publish_phase(function, BF_PHASE_COMPILED, level);
    memcpy((void *)parts.code, source->image[level], size);
    version_emitted(*made, &parts, size, 0);
    return BF_REASON_NONE;
}

bool slot_fill(uint32_t function, const struct jit_source *source) {
    struct embedded_module *kept = &sources[function];

    *kept = (struct embedded_module){.name = source->name, .expected = source->expected};
    memcpy(kept->arguments, source->arguments, sizeof kept->arguments);
    kept->bitcode = source->bitcode;
    kept->bitcode_size = (uint32_t)(source->bitcode_end - source->bitcode);
    for (uint32_t level = 0; level < BF_LEVELS; level++) {
        if (source->code[level] == NULL)
            continue;
        if (source->end[level] == NULL) {
            kprintf("[JIT] %s: not registered: where its O%u code ends is not known\n", source->name, level);
            return false;
        }
        kept->image[level] = (const void *)source->code[level];
        kept->image_size[level] = (uint32_t)source->end[level] - (uint32_t)source->code[level];
    }
    return adaptive_jit_register_function(kept, NO_MODULE) == function;
}

bool slot_publish(uint32_t function, uint32_t level) {
    return adaptive_jit_ask(function, level);
}

jit_function_t slot_code(uint32_t function) {
    return (jit_function_t)adaptive_jit.functions[function].current_code;
}

uint32_t slot_level(uint32_t function) {
    return function_table[function].level;
}

int32_t jit_optimize_call(uint32_t function, int32_t a, int32_t b) {
    return adaptive_jit_call(function, a, b);
}
