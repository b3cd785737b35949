/*
 * Modules of one's own: those that are not embedded, from the disk or from the cache in the kernel. They are called,
 * profiled, recompiled and swapped like the embedded ones.
 */
#include "disk.h"

/* For images that do not say how they want to be called. Small, and good to divide by. */
#define DEFAULT_A 10
#define DEFAULT_B 3

static struct embedded_module sources[BF_MAX_MODULES];  /* index as in module_manager */

static bool is_embedded(const char *name) {
    for (uint32_t i = 0; i < embedded_module_count; i++)
        if (strcmp(embedded_modules[i].name, name) == 0)
            return true;
    return false;
}

static void tell(uint32_t function, bool given, bool varies) {
    const struct bf_function *record = &function_table[function];

    kprintf("[ADAPTIVE-JIT] Registered: %s, called with (%d, %d), ", record->name, record->arguments[0],
            record->arguments[1]);
    if (varies)
        kprintf("its result differs from call to call");
    else
        kprintf("expected %d%s", record->expected, given ? "" : " (as its first call returned)");
    if (record->bitcode != 0)
        kprintf(", %u bytes of bitcode\n", record->bitcode_size);
    else
        kprintf(", no bitcode: the host cannot recompile it\n");
}

const char *own_module_register(uint32_t module) {
    const struct bf_module_image *loaded = &module_images[module];
    struct embedded_module *source = &sources[module];
    struct module_image image;

    *source = (struct embedded_module){
        .name = module_manager.modules[module].name,
        .image = {(const void *)loaded->image},
        .image_size = {loaded->image_size},
        .arguments = {DEFAULT_A, DEFAULT_B},
    };
    const char *wrong = module_image_open(&image, source->image[0], source->image_size[0]);
    if (wrong == NULL && image.header->version == 1)
        wrong = "header version 1 does not promise an EBP frame; build it with version 2";
    if (wrong != NULL) {
        kprintf("[ADAPTIVE-JIT] Not registered: %s: %s\n", source->name, wrong);
        return wrong;
    }
    if (image.call.magic != 0)
        memcpy(source->arguments, image.call.arguments, sizeof source->arguments);
    int32_t first = module_execute(module, source->arguments[0], source->arguments[1]);
    int32_t second = module_execute(module, source->arguments[0], source->arguments[1]);
    bool given = image.call.expected_known == 1;
    source->expected = given ? image.call.expected : first;
    if (given && second != source->expected)
        kprintf("[ERROR] Module %s: returned %d, its image expects %d\n", source->name, second, source->expected);

    uint32_t function = adaptive_jit_register_function(source, module);
    if (function == NO_FUNCTION) {
        wrong = "no room in the function table, or in a pool";
        kprintf("[ADAPTIVE-JIT] Not registered: %s: %s\n", source->name, wrong);
        return wrong;
    }
    bool varies = !given && first != second;
    if (varies)
        adaptive_jit_expect_nothing(function);
    tell(function, given, varies);
    return NULL;
}

/* Its image has given way to another one, which is all that is left of its tiers. */
void own_module_replaced(uint32_t module) {
    const struct bf_module_image *loaded = &module_images[module];

    memset(sources[module].image, 0, sizeof sources[module].image);
    sources[module].image[loaded->level] = (const void *)loaded->image;
    sources[module].image_size[loaded->level] = loaded->image_size;
}

void own_modules_register(void) {
    for (uint32_t module = 0; module < module_manager.num_modules; module++)
        if (module_manager.modules[module].loaded && !is_embedded(module_manager.modules[module].name))
            own_module_register(module);
}
