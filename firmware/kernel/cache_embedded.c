/* The optimised modules built into the kernel: C arrays, and a registry that is a weak symbol, so it may be absent. */
#include "disk.h"

static struct {
    const char *name;
    uint32_t level;
    const uint8_t *image;
    uint32_t size;
} wanted;

static uint32_t used;

static void compare(const char *name, uint32_t level, const uint8_t *image, uint32_t size) {
    if (level != wanted.level || strcmp(name, wanted.name) != 0)
        return;
    wanted.image = image;
    wanted.size = size;
}

bool cache_embedded_find(const char *name, uint32_t level, const uint8_t **image, uint32_t *size) {
    if (cache_registry_foreach == NULL)
        return false;
    wanted.name = name;
    wanted.level = level;
    wanted.image = NULL;
    cache_registry_foreach(compare);
    if (wanted.image == NULL)
        return false;
    *image = wanted.image;
    *size = wanted.size;
    return true;
}

/* The lowest level of a module takes the place of the embedded one; the others are tiers for the adaptive JIT. */
static void replace_embedded(const char *name, uint32_t level, const uint8_t *image, uint32_t size) {
    const uint8_t *lower;
    uint32_t lower_size;

    for (uint32_t below = 0; below < level; below++)
        if (cache_embedded_find(name, below, &lower, &lower_size))
            return;
    uint32_t module = module_find(name);
    if (module == NO_MODULE) {
        if (module_load(image, size, level, BF_REASON_CACHE) == NO_MODULE)
            return;
        kprintf("[CACHE] Added module '%s'\n", name);
    } else {
        if (!module_install_override(module, image, size, level, BF_REASON_CACHE))
            return;
        kprintf("[CACHE] Replaced embedded module '%s' with cached version\n", name);
    }
    used++;
}

uint32_t cache_load_modules(void) {
    used = 0;
    if (cache_registry_foreach != NULL)
        cache_registry_foreach(replace_embedded);
    if (used == 0)
        kprintf("[CACHE] No optimized modules detected\n");
    return used;
}
