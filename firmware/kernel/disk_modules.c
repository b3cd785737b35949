/* Modules from the second disk: NAME.MOD of the root directory. The embedded modules are the fallback. */
#include "disk.h"

static uint32_t loaded;

/* The image stays in its block: readers look at its header. It takes the place of one read from disk before. */
static uint32_t install(bf_ptr image, uint32_t size) {
    const module_header_t *header = (const module_header_t *)image;
    struct module_image parts;
    bf_ptr old = 0;

    const char *wrong = module_image_open(&parts, header, size);
    if (wrong == NULL)
        wrong = module_image_tier(&parts, 0);
    if (wrong != NULL) {
        kprintf("[ERROR] Module image: %s\n", wrong);
        return NO_MODULE;
    }
    uint32_t module = module_find(header->name);
    if (module == NO_MODULE)
        return module_load(header, size, 0, BF_REASON_DISK);
    if (module_images[module].source == BF_REASON_DISK)
        old = module_images[module].image;
    if (!module_install_override(module, header, size, 0, BF_REASON_DISK))
        return NO_MODULE;
    if (old != 0)
        pool_free(BF_POOL_DATA, old);
    kprintf("[DISK] Module '%s' has its code from disk (entry: 0x%08x)\n", header->name,
            module_images[module].entry);
    return module;
}

bool disk_load_module(const char *name) {
    bf_ptr image;
    int32_t size = disk_read_new(name, BF_OWNER_FILE, 0, &image);

    if (size < 0)
        return false;
    uint32_t module = install(image, (uint32_t)size);
    if (module == NO_MODULE) {
        kprintf("[DISK] %s was not loaded\n", name);
        pool_free(BF_POOL_DATA, image);
        return false;
    }
    const block_header_t *block = (const block_header_t *)image - 1;
    block_table_set((bf_ptr)block, block->size, BF_POOL_DATA, BF_BLOCK_USED, BF_OWNER_FILE, module);
    return true;
}

static void load_if_module(const char *name, uint32_t size) {
    size_t length = strlen(name);

    if (size != 0 && length > 4 && strcmp(name + length - 4, ".MOD") == 0)
        loaded += disk_load_module(name);
}

uint32_t disk_load_all_modules(void) {
    kprintf("[DISK] Attempting to load modules from FAT16...\n");
    loaded = 0;
    if (!disk_present()) {
        kprintf("[DISK] No disk: the embedded modules are used\n");
        return 0;
    }
    disk_list(load_if_module);
    kprintf("[DISK] Loaded %u modules\n", loaded);
    return loaded;
}
