/* The module system: position-independent images (header version 1) run where they lie, called by name, measured. */
#include "stock.h"

#define HEADER_BYTES ((uint32_t)sizeof(module_header_t))
#define CODE_OFFSET 0x30            /* entry_point in a .mod file */

void module_init(module_manager_t *manager) {
    memset(manager, 0, sizeof *manager);
}

int module_find(const module_manager_t *manager, const char *name) {
    for (uint32_t i = 0; i < manager->num_modules; i++)
        if (strcmp(manager->modules[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* Makes the entry absolute and the size known: .mod files say 0. False, with a line, when it is no module. */
static bool open_image(module_header_t *header, uint32_t size) {
    if (size <= HEADER_BYTES || header->magic != MODULE_MAGIC) {
        terminal_printf("[ERROR] Invalid module magic\n");
        return false;
    }
    header->name[sizeof header->name - 1] = 0;
    if (header->version != 1 || header->entry_point != CODE_OFFSET) {
        terminal_printf("[ERROR] Module %s: header version %u is not 1\n", header->name, header->version);
        return false;
    }
    header->entry_point = (uint32_t)header + CODE_OFFSET;
    header->code_size = size - HEADER_BYTES;
    return true;
}

static void set_code(module_profile_t *profile, const module_header_t *header) {
    profile->code_ptr = (void *)header->entry_point;
    profile->code_size = header->code_size;
}

int module_load(module_manager_t *manager, module_header_t *header, uint32_t size) {
    if (!open_image(header, size))
        return -1;
    if (module_find(manager, header->name) >= 0) {
        terminal_printf("[WARN] Module already loaded: %s\n", header->name);
        return -1;
    }
    if (manager->num_modules == MAX_MODULES) {
        terminal_printf("[ERROR] No room for module %s\n", header->name);
        return -1;
    }
    module_profile_t *profile = &manager->modules[manager->num_modules];
    memset(profile, 0, sizeof *profile);
    strncpy(profile->name, header->name, sizeof profile->name - 1);
    profile->min_cycles = UINT64_MAX;
    set_code(profile, header);
#if STOCK_PROFILE_BYTES != 72
    profile->loaded = 1;
#endif
    terminal_printf("[OK] Module loaded: %s (entry: 0x%08x)\n", profile->name, header->entry_point);
    return (int)manager->num_modules++;
}

/* Other code for a module of this name; one that is not loaded yet is added. False when nothing was replaced. */
bool module_install_override(module_manager_t *manager, const char *name, module_header_t *header, uint32_t size) {
    int module = module_find(manager, name);

    if (module < 0) {
        module_load(manager, header, size);
        return false;
    }
    if (!open_image(header, size))
        return false;
    set_code(&manager->modules[module], header);
    return true;
}

int32_t module_execute(module_manager_t *manager, int module, int32_t a, int32_t b) {
    module_profile_t *profile = &manager->modules[module];
    jit_code_t code = (jit_code_t)profile->code_ptr;
    uint64_t start = rdtsc();
    int32_t result = code(a, b);
    uint64_t cycles = rdtsc() - start;

    profile->call_count++;
    profile->total_cycles += cycles;
#if STOCK_PROFILE_BYTES == 84
    profile->sum_of_squares += cycles * cycles;
#endif
    if (cycles < profile->min_cycles)
        profile->min_cycles = cycles;
    if (cycles > profile->max_cycles)
        profile->max_cycles = cycles;
    manager->total_calls++;
    return result;
}

void module_print_stats(const module_manager_t *manager) {
    terminal_printf("\nMODULE SYSTEM STATISTICS\n");
    terminal_printf("Total modules loaded: %u\n", manager->num_modules);
    terminal_printf("Total calls: %llu\n", manager->total_calls);
    for (uint32_t i = 0; i < manager->num_modules; i++) {
        const module_profile_t *profile = &manager->modules[i];
        terminal_printf("%s: address 0x%08x, size %u, calls %llu\n", profile->name, (uint32_t)profile->code_ptr,
                        profile->code_size, profile->call_count);
        if (profile->call_count != 0)
            terminal_printf("  cycles: total %llu, avg %llu, min %llu, max %llu\n", profile->total_cycles,
                            profile->total_cycles / profile->call_count, profile->min_cycles, profile->max_cycles);
    }
}

/* A minimum that was never measured is printed as 0. */
void module_export_profile(const module_manager_t *manager) {
    serial_printf("\n=== PROFILING DATA EXPORT ===\n--- BEGIN JSON ---\n{\n"
                  "  \"format_version\": \"1.0\",\n"
                  "  \"timestamp_cycles\": %llu,\n"
                  "  \"total_calls\": %llu,\n"
                  "  \"num_modules\": %u,\n"
                  "  \"modules\": [\n",
                  rdtsc(), manager->total_calls, manager->num_modules);
    for (uint32_t i = 0; i < manager->num_modules; i++) {
        const module_profile_t *profile = &manager->modules[i];
        serial_printf("    {\n"
                      "      \"name\": \"%s\",\n"
                      "      \"calls\": %llu,\n"
                      "      \"total_cycles\": %llu,\n"
                      "      \"min_cycles\": %llu,\n"
                      "      \"max_cycles\": %llu,\n"
                      "      \"code_address\": \"0x%08x\",\n"
                      "      \"code_size\": %u,\n"
                      "      \"loaded\": true\n"
                      "    }%s\n",
                      profile->name, profile->call_count, profile->total_cycles,
                      profile->call_count == 0 ? 0 : profile->min_cycles, profile->max_cycles,
                      (uint32_t)profile->code_ptr, profile->code_size, i + 1 == manager->num_modules ? "" : ",");
    }
    serial_printf("  ]\n}\n--- END JSON ---\n");
}
