/* The application's profile for people, on both consoles, and for programs, as JSON on COM1. */
#include "jit_runtime.h"

static uint64_t minimum(const jit_profile_entry_t *entry) {
    return entry->call_count == 0 ? 0 : entry->min_cycles;
}

void jit_profile_print(const jit_profile_t *profile) {
    kprintf("=== JIT Profiling Statistics ===\n");
    for (uint32_t i = 0; i < profile->num_functions; i++) {
        const jit_profile_entry_t *entry = &profile->entries[i];
        kprintf("%s: calls=%llu, avg=%llu, min=%llu, max=%llu\n", entry->name, entry->call_count,
                jit_profile_average(entry), minimum(entry), entry->max_cycles);
    }
}

void jit_profile_export(const jit_profile_t *profile) {
    uint64_t calls = 0;
    for (uint32_t i = 0; i < profile->num_functions; i++)
        calls += profile->entries[i].call_count;

    serial_printf("\n=== PROFILING DATA EXPORT ===\n--- BEGIN JSON ---\n{\n"
                  "  \"format_version\": \"1.0\",\n"
                  "  \"timestamp_cycles\": %llu,\n"
                  "  \"total_calls\": %llu,\n"
                  "  \"num_modules\": %u,\n"
                  "  \"modules\": [\n",
                  rdtsc(), calls, profile->num_functions);
    for (uint32_t i = 0; i < profile->num_functions; i++) {
        const jit_profile_entry_t *entry = &profile->entries[i];
        /* The size is not known: a function of the application is code among other code. */
        serial_printf("    {\n"
                      "      \"name\": \"%s\",\n"
                      "      \"calls\": %llu,\n"
                      "      \"total_cycles\": %llu,\n"
                      "      \"min_cycles\": %llu,\n"
                      "      \"max_cycles\": %llu,\n"
                      "      \"code_address\": \"0x%08x\",\n"
                      "      \"code_size\": 0,\n"
                      "      \"loaded\": true\n"
                      "    }%s\n",
                      entry->name, entry->call_count, entry->total_cycles, minimum(entry), entry->max_cycles,
                      (uint32_t)jit_optimize_code(entry->name), i + 1 == profile->num_functions ? "" : ",");
    }
    serial_printf("  ]\n}\n--- END JSON ---\n");
}
