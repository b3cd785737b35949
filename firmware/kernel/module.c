/* The module system: module images loaded into the pools, found by name, executed, measured. */
#include "defs.h"

module_manager_t module_manager;
struct bf_module_image module_images[BF_MAX_MODULES];

/* struct bf_symbol[count] in the METADATA pool, with absolute addresses. */
static struct {
    bf_ptr symbols;
    uint32_t count;
} shared_data[BF_MAX_MODULES];

static uint32_t executing[BF_MAX_MODULES];      /* calls of the module that have not returned */

void module_init(void) {
    memset(&module_manager, 0, sizeof module_manager);
    memset(module_images, 0, sizeof module_images);
    memset(shared_data, 0, sizeof shared_data);
    memset(executing, 0, sizeof executing);
}

uint32_t module_find(const char *name) {
    for (uint32_t i = 0; i < module_manager.num_modules; i++)
        if (module_manager.modules[i].loaded && strcmp(module_manager.modules[i].name, name) == 0)
            return i;
    return NO_MODULE;
}

static const char *refusal = "";

const char *module_refusal(void) {
    return refusal;
}

static uint32_t refuse(const char *name, const char *why) {
    refusal = why;
    kprintf("[ERROR] Module %s: %s\n", name, why);
    return NO_MODULE;
}

/* False when there was no memory for them: the module then has no symbol table, and runs all the same. */
static bool keep_symbols(uint32_t module, const struct module_image *image) {
    uint32_t count = image->tail.symbol_count;
    const struct bf_symbol *offsets = (const struct bf_symbol *)(image->body + image->tail.symbols_offset);

    if (count == 0)
        return true;
    bf_ptr address = pool_alloc(BF_POOL_METADATA, count * sizeof(struct bf_symbol), BF_OWNER_MODULE, module);
    if (address == 0)
        return false;
    struct bf_symbol *symbols = (struct bf_symbol *)address;
    for (uint32_t i = 0; i < count; i++) {
        symbols[i] = offsets[i];
        symbols[i].name[sizeof symbols[i].name - 1] = 0;
        symbols[i].address += module_images[module].data;
    }
    shared_data[module].symbols = address;
    shared_data[module].count = count;
    return true;
}

static void record_parts(uint32_t module, const struct module_image *image, uint32_t size, uint32_t level,
                         uint32_t source, const struct module_parts *parts, bf_ptr data) {
    module_images[module] = (struct bf_module_image){
        .image = (bf_ptr)image->header,
        .image_size = size,
        .level = level,
        .source = source,
        .code = parts->code,
        .code_size = image->tail.code_size,
        .rodata = parts->rodata,
        .rodata_size = image->tail.rodata_size,
        .data = data,
        .data_size = image->tail.data_size + image->bss_size,
        .entry = parts->entry,
    };
    module_manager.modules[module].code_ptr = parts->entry;
    module_manager.modules[module].code_size = image->tail.code_size;
}

/* A place that an unloaded module left, or a new one; MAX_MODULES = none. */
static uint32_t free_place(void) {
    uint32_t module = 0;

    while (module < module_manager.num_modules && module_manager.modules[module].loaded)
        module++;
    return module;
}

/* source: enum bf_reason, EMBEDDED, CACHE or DISK. The image stays where it is: readers look at its header. */
uint32_t module_load(const void *bytes, uint32_t size, uint32_t level, uint32_t source) {
    struct module_image image;
    struct module_parts parts;
    const char *wrong = module_image_open(&image, bytes, size);
    uint32_t module = free_place();

    if (wrong != NULL)
        return refuse("image", wrong);
    const char *name = image.header->name;
    if (module_find(name) != NO_MODULE) {
        refusal = "it is loaded already; reload it";
        kprintf("[WARN] Module already loaded: %s\n", name);
        return NO_MODULE;
    }
    if (module == BF_MAX_MODULES)
        return refuse(name, "no room in the module table");
    uint32_t data_size = image.tail.data_size + image.bss_size;
    bf_ptr data = module_image_place_data(&image, BF_OWNER_MODULE, module);
    if (data_size != 0 && data == 0)
        return refuse(name, "its data could not be placed");
    if (!module_image_place(&image, data, BF_OWNER_MODULE, module, &parts)) {
        if (data != 0)
            pool_free(BF_POOL_DATA, data);
        return refuse(name, "its code could not be placed");
    }

    module_profile_t *profile = &module_manager.modules[module];
    *profile = (module_profile_t){.min_cycles = UINT64_MAX, .loaded = 1};
    strncpy(profile->name, name, sizeof profile->name - 1);
    record_parts(module, &image, size, level, source, &parts, data);
    if (module == module_manager.num_modules)
        module_manager.num_modules++;
    if (!keep_symbols(module, &image))
        kprintf("[WARN] Module %s: no memory for its symbols\n", name);
    kprintf("[OK] Module loaded: %s (entry: 0x%08x)\n", name, parts.entry);
    if (image.header->version == 1)
        kprintf("[WARN] Module %s has header version 1: taken for position-independent code\n", name);
    event(BF_EVENT_MODULE_LOAD, module, parts.code, image.tail.code_size, source, 0);
    if (HOOKED(BF_HOOK_MODULE_LOAD))
        bareflow_hook_module_load(module, parts.code, image.tail.code_size);
    return module;
}

/* Other code for a loaded module, with the module's own data; refused with a line while the module runs. */
bool module_install_override(uint32_t module, const void *bytes, uint32_t size, uint32_t level, uint32_t source) {
    struct module_image image;
    struct module_image loaded;
    struct module_parts parts;
    struct bf_module_image old = module_images[module];
    const char *wrong = module_image_open(&image, bytes, size);

    if (executing[module] != 0)
        wrong = "it is running";
    if (wrong == NULL)
        wrong = module_image_open(&loaded, (const void *)old.image, old.image_size);
    if (wrong == NULL && strcmp(image.header->name, loaded.header->name) != 0)
        wrong = "it is another module";
    if (wrong == NULL && !module_image_same_data(&image, &loaded))
        wrong = "its data is laid out differently";
    if (wrong == NULL && !module_image_place(&image, old.data, BF_OWNER_MODULE, module, &parts))
        wrong = "its code could not be placed";
    if (wrong != NULL) {
        refuse(module_manager.modules[module].name, wrong);
        return false;
    }
    record_parts(module, &image, size, level, source, &parts, old.data);
    pool_free(BF_POOL_CODE, old.code);
    if (old.rodata != 0)
        pool_free(BF_POOL_DATA, old.rodata);
    event(BF_EVENT_MODULE_OVERRIDE, module, old.code, parts.code, source, 0);
    return true;
}

/*
 * Loads a module, or replaces its code when it is loaded at another level. The level it has already is refused, so
 * that a swap that changes nothing is noticed.
 */
uint32_t module_load_versioned(const void *bytes, uint32_t size, uint32_t level, uint32_t source) {
    struct module_image image;
    const char *wrong = module_image_open(&image, bytes, size);

    if (wrong == NULL && level >= BF_LEVELS)
        wrong = "there is no such level";
    if (wrong != NULL)
        return refuse("image", wrong);
    uint32_t module = module_find(image.header->name);
    if (module == NO_MODULE)
        return module_load(bytes, size, level, source);
    if (module_images[module].level == level)
        return refuse(image.header->name, "it is loaded at this level already");
    if (!module_install_override(module, bytes, size, level, source))
        return NO_MODULE;
    kprintf("[OK] Module replaced: %s at O%u (entry: 0x%08x)\n", image.header->name, level,
            module_images[module].entry);
    return module;
}

/* Its data is what every version of the function works on. */
uint32_t module_function(uint32_t module) {
    for (uint32_t i = 0; i < bareflow_status.function_count; i++)
        if (function_table[i].module == module)
            return i;
    return NO_FUNCTION;
}

/* Gives all blocks of a module back; refused with a line while it runs, or when a JIT function is made from it. */
bool module_unload(uint32_t module) {
    if (module >= module_manager.num_modules || !module_manager.modules[module].loaded) {
        refuse("?", "there is no such module to unload");
        return false;
    }
    module_profile_t *profile = &module_manager.modules[module];
    struct bf_module_image *image = &module_images[module];
    if (executing[module] != 0 || module_function(module) != NO_FUNCTION) {
        refuse(profile->name, executing[module] != 0 ? "not unloaded: it is running"
                                                     : "not unloaded: a version of it is published");
        return false;
    }
    event(BF_EVENT_MODULE_UNLOAD, module, image->code, image->code_size, image->source, 0);
    kprintf("[OK] Module unloaded: %s\n", profile->name);
    pool_free(BF_POOL_CODE, image->code);
    if (image->rodata != 0)
        pool_free(BF_POOL_DATA, image->rodata);
    if (image->data != 0)
        pool_free(BF_POOL_DATA, image->data);
    if (shared_data[module].symbols != 0)
        pool_free(BF_POOL_METADATA, shared_data[module].symbols);
    shared_data[module].symbols = 0;
    shared_data[module].count = 0;
    *image = (struct bf_module_image){0};
    *profile = (module_profile_t){0};
    while (module_manager.num_modules > 0 && !module_manager.modules[module_manager.num_modules - 1].loaded)
        module_manager.num_modules--;
    return true;
}

int32_t module_execute(uint32_t module, int32_t a, int32_t b) {
    module_profile_t *profile = &module_manager.modules[module];
    jit_code_t code = (jit_code_t)profile->code_ptr;
    executing[module]++;
    uint64_t start = rdtsc();
    int32_t result = code(a, b);
    uint64_t cycles = rdtsc() - start;
    executing[module]--;

    profile->call_count++;
    profile->total_cycles += cycles;
    profile->sum_of_squares += cycles * cycles;
    if (cycles < profile->min_cycles)
        profile->min_cycles = cycles;
    if (cycles > profile->max_cycles)
        profile->max_cycles = cycles;
    module_manager.total_calls++;
    event(BF_EVENT_MODULE_CALL, module, (uint32_t)result, (uint32_t)cycles, (uint32_t)(cycles >> 32), 0);
    return result;
}

void module_symbols(uint32_t module, bf_ptr *symbols, uint32_t *count) {
    *symbols = shared_data[module].symbols;
    *count = shared_data[module].count;
}

void module_print_stats(void) {
    kprintf("\nMODULE SYSTEM STATISTICS\n");
    kprintf("Total modules loaded: %u\n", module_manager.num_modules);
    kprintf("Total calls: %llu\n", module_manager.total_calls);
    for (uint32_t i = 0; i < module_manager.num_modules; i++) {
        const module_profile_t *profile = &module_manager.modules[i];
        kprintf("\n%s\n", profile->name);
        kprintf("  Address: 0x%08x\n", profile->code_ptr);
        kprintf("  Size: %u bytes\n", profile->code_size);
        kprintf("  Calls: %llu\n", profile->call_count);
        if (profile->call_count == 0)
            continue;
        kprintf("  Total cycles: %llu\n", profile->total_cycles);
        kprintf("  Avg cycles: %llu\n", profile->total_cycles / profile->call_count);
        kprintf("  Min cycles: %llu\n", profile->min_cycles);
        kprintf("  Max cycles: %llu\n", profile->max_cycles);
    }
    kprintf("\n");
}
