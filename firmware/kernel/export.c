/* The profiles as JSON on COM1: of the modules, and in the same form of the functions.
 *
 * Scripts take the modules' export by its braces, which stand alone on their lines: `sed -n '/^{$/,/^}$/p'`. No other
 * line of the log may be such a brace, so the functions' export has company on those lines.
 */
#include "defs.h"

struct row {
    const char *name;
    uint64_t calls;
    uint64_t total;
    uint64_t min;
    uint64_t max;
    uint32_t address;
    uint32_t size;
};

static void begin(const char *heading, const char *brace, uint64_t total_calls, uint32_t count) {
    kprintf("\n=== %s ===\n--- BEGIN JSON ---\n%s", heading, brace);
    kprintf("  \"format_version\": \"1.0\",\n");
    kprintf("  \"timestamp_cycles\": %llu,\n", rdtsc());
    kprintf("  \"total_calls\": %llu,\n", total_calls);
    kprintf("  \"num_modules\": %u,\n", count);
    kprintf("  \"modules\": [\n");
}

/* A minimum that was never measured is printed as 0. */
static void print_row(const struct row *row, bool last) {
    kprintf("    {\n");
    kprintf("      \"name\": \"%s\",\n", row->name);
    kprintf("      \"calls\": %llu,\n", row->calls);
    kprintf("      \"total_cycles\": %llu,\n", row->total);
    kprintf("      \"min_cycles\": %llu,\n", row->calls == 0 ? 0 : row->min);
    kprintf("      \"max_cycles\": %llu,\n", row->max);
    kprintf("      \"code_address\": \"0x%08x\",\n", row->address);
    kprintf("      \"code_size\": %u,\n", row->size);
    kprintf("      \"loaded\": true\n");
    kprintf("    }%s\n", last ? "" : ",");
}

static void end(const char *brace) {
    kprintf("  ]%s\n--- END JSON ---\n", brace);
}

void export_modules(void) {
    uint32_t count = module_manager.num_modules;

    begin("PROFILING DATA EXPORT", "{\n", module_manager.total_calls, count);
    for (uint32_t i = 0; i < count; i++) {
        const module_profile_t *profile = &module_manager.modules[i];
        struct row row = {profile->name, profile->call_count, profile->total_cycles, profile->min_cycles,
                          profile->max_cycles, profile->code_ptr, profile->code_size};
        print_row(&row, i + 1 == count);
    }
    end("\n}");
}

void export_functions(void) {
    uint32_t count = bareflow_status.function_count;

    begin("FUNCTION PROFILING DATA EXPORT", "{", function_profiler->total_calls, count);
    for (uint32_t i = 0; i < count; i++) {
        const function_profile_t *profile = &function_profiler->functions[function_table[i].profiler_id];
        const struct bf_version *version = version_find(function_table[i].version);
        struct row row = {(const char *)profile->name, profile->call_count, profile->total_cycles,
                          profile->min_cycles, profile->max_cycles, profile->address,
                          version == NULL ? 0 : version->code_size};
        print_row(&row, i + 1 == count);
    }
    end("}");
}
