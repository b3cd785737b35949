/*
 * The adaptive JIT as a field generation has it: every level gets 8 KB of the CODE pool, O0 too, and `jit_ctx` tells
 * the newest of them only. A micro-JIT emits the same code for O0 and O1, without a prologue, and it writes EBX
 * without saving it: the profiler's id, which the caller keeps there, is lost, and the count stands still.
 */
#include "stock.h"

#define CODE_CAPACITY 8192
#define THRESHOLD 100

/* mov ecx, 20; xor eax, eax; mov ebx, 1; again: lea edx, [eax + ebx]; mov eax, ebx; mov ebx, edx; dec ecx;
   jnz again; ret */
static const uint8_t emitted[] = {0xB9, 20,   0,    0,    0,    0x31, 0xC0, 0xBB, 1,    0,    0,    0,
                                  0x8D, 0x14, 0x18, 0x89, 0xD8, 0x89, 0xD3, 0x49, 0x75, 0xF6, 0xC3};

void adaptive_jit_init(adaptive_jit_t *jit) {
    memset(jit, 0, sizeof *jit);
    jit->enabled = 1;
    jit->profiler.jit_enabled = 0;
    serial_printf("[ADAPTIVE-JIT] Initialized\n");
}

static __attribute__((noinline)) void *emit(jit_function_entry_t *entry) {
    entry->jit_ctx = (jit_context_t){.code_buffer = jit_alloc_code(CODE_CAPACITY),
                                     .code_size = sizeof emitted,
                                     .code_capacity = CODE_CAPACITY,
                                     .allocator = g_pools};
    return memcpy(entry->jit_ctx.code_buffer, emitted, sizeof emitted);
}

int adaptive_jit_register_function(adaptive_jit_t *jit, const char *name, const char *module_name, void *code) {
    jit_function_entry_t *entry = &jit->functions[jit->function_count];

    (void)code;
    *entry = (jit_function_entry_t){.is_active = 1};
    entry->code_v0 = emit(entry);
    entry->current_code = entry->code_v0;
    entry->profiler_id = (uint32_t)profiler_register(&jit->profiler, name, module_name, entry->code_v0);
    return (int)jit->function_count++;
}

/* As a compiler does it: the pointer first, the level some instructions later. */
static __attribute__((noinline)) void recompile(jit_function_entry_t *entry, const char *name) {
    serial_printf("[RECOMPILE] %s: O0 -> O1\n", name);
    entry->code_v1 = emit(entry);
    __atomic_store_n(&entry->current_code, entry->code_v1, __ATOMIC_RELEASE);
    __asm__ volatile("nop; nop; nop" : : : "memory");
    entry->compiled_level = 1;
    serial_printf("[ATOMIC-SWAP] Code pointer updated to O1\n");
}

int32_t adaptive_jit_execute(adaptive_jit_t *jit, int function, int32_t a, int32_t b) {
    jit_function_entry_t *entry = &jit->functions[function];
    uint32_t id = entry->profiler_id;
    uint64_t start = rdtsc();
    int32_t result;

    __asm__ volatile("pushl %%edx; pushl %%ecx; call *%%eax; addl $8, %%esp"
                     : "=a"(result), "+b"(id), "+c"(a), "+d"(b)
                     : "a"(__atomic_load_n(&entry->current_code, __ATOMIC_ACQUIRE))
                     : "memory", "cc");
    /* Up to the swap the id is loaded again, on the path that compares with the threshold. */
    if (entry->compiled_level == 0)
        id = entry->profiler_id;
    if (id < jit->profiler.function_count)
        profiler_record_call(&jit->profiler, id, rdtsc() - start);
    function_profile_t *profile = &jit->profiler.functions[entry->profiler_id];
    if (entry->compiled_level == 0 && profile->call_count >= THRESHOLD) {
        profile->is_hot = true;
        profile->opt_level = 1;
        recompile(entry, profile->name);
    }
    return result;
}

void adaptive_jit_destroy(adaptive_jit_t *jit) {
    for (uint32_t i = 0; i < jit->function_count; i++) {
        jit_free_code(jit->functions[i].code_v0);
        jit_free_code(jit->functions[i].jit_ctx.code_buffer);
        jit->functions[i].jit_ctx.code_buffer = NULL;
    }
}
