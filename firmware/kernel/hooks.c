/*
 * Functions that exist to be stopped at, in a page of their own: a breakpoint makes all other code in its page
 * many times slower. Each is called only when its bit of bf_root.hook_mask is set.
 */
#include "defs.h"

/* `used` and the empty statement with the arguments keep the function, its frame and its arguments. */
#define HOOK __attribute__((section(".hooks"), noinline, used))

HOOK void bareflow_hook_swap(uint32_t function, bf_ptr old_code, bf_ptr new_code, uint32_t version) {
    __asm__ volatile("" : : "g"(function), "g"(old_code), "g"(new_code), "g"(version));
}

HOOK void bareflow_hook_exception(const struct bf_exception *record) {
    __asm__ volatile("" : : "g"(record));
}

HOOK void bareflow_hook_pool_fail(uint32_t pool, uint32_t size) {
    __asm__ volatile("" : : "g"(pool), "g"(size));
}

HOOK void bareflow_hook_register(uint32_t function, const char *name) {
    __asm__ volatile("" : : "g"(function), "g"(name));
}

HOOK void bareflow_hook_module_load(uint32_t module, bf_ptr code, uint32_t size) {
    __asm__ volatile("" : : "g"(module), "g"(code), "g"(size));
}

HOOK void bareflow_hook_reject(uint32_t function, uint32_t reason) {
    __asm__ volatile("" : : "g"(function), "g"(reason));
}

HOOK void bareflow_hook_phase(uint32_t function, uint32_t phase, uint32_t level) {
    __asm__ volatile("" : : "g"(function), "g"(phase), "g"(level));
}

/*
 * The atomic swap: one aligned store, which on x86 has RELEASE semantics, then the level. The label marks the
 * store: there, EDX is the address of the slot and EAX the new entry point.
 */
HOOK void adaptive_jit_swap_code(jit_function_entry_t *entry, bf_ptr new_code, uint32_t level) {
    __asm__ volatile(".globl bareflow_publish_store\n"
                     "bareflow_publish_store:\n\t"
                     "movl %%eax, (%%edx)"
                     :
                     : "d"(&entry->current_code), "a"(new_code)
                     : "memory");
    entry->compiled_level = level;
}

HOOK void bareflow_hook_kernel(uint32_t function, uint32_t layer, uint32_t job) {
    __asm__ volatile("" : : "g"(function), "g"(layer), "g"(job));
}
