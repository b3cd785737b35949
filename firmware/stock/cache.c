/* The cache: better versions of modules, embedded at build time, take the place of the embedded ones. */
#include "stock.h"

/* images.S, when the kernel has a cache. */
extern const module_image_t cache_registry[] __attribute__((weak));
extern const uint32_t cache_registry_count __attribute__((weak));

void cache_load_modules(module_manager_t *manager) {
    if (!&cache_registry_count) {
        terminal_printf("[CACHE] No optimized modules detected\n");
        return;
    }
    for (uint32_t i = 0; i < cache_registry_count; i++) {
        module_header_t *header = cache_registry[i].header;
        if (module_install_override(manager, header->name, header, cache_registry[i].size))
            terminal_printf("[CACHE] Replaced embedded module '%s' with cached version\n", header->name);
    }
}
