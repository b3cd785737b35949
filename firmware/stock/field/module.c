/* Loads the modules of modules.S: from header records that stand apart from their code, and two without any. */
#include "stock.h"

#define EMBEDDED 4

extern const module_header_t embedded_headers[EMBEDDED];
int32_t cached_primes(int32_t a, int32_t b);
int32_t code_quicksort(int32_t a, int32_t b);
int32_t code_strops(int32_t a, int32_t b);

static void add(module_manager_t *manager, const char *name, void *code, uint32_t size) {
    module_profile_t *profile = &manager->modules[manager->num_modules++];

    memset(profile, 0, sizeof *profile);
    strncpy(profile->name, name, sizeof profile->name - 1);
    profile->code_ptr = code;
    profile->code_size = size;
    profile->min_cycles = UINT64_MAX;
    profile->loaded = 1;
}

void field_load_modules(module_manager_t *manager) {
    for (uint32_t i = 0; i < EMBEDDED; i++)
        add(manager, embedded_headers[i].name, (void *)embedded_headers[i].entry_point,
            embedded_headers[i].code_size);
    add(manager, "quicksort", (void *)code_quicksort, 1500);
    add(manager, "strops", (void *)code_strops, 1500);
    terminal_printf("[CACHE] Replaced embedded module 'primes' with cached version\n");
    manager->modules[module_find(manager, "primes")].code_ptr = (void *)cached_primes;
    manager->modules[module_find(manager, "primes")].code_size = 0;
}
