/* The debug interface of an application: the root descriptor, the exports, a hold before main. */
#include "jit_runtime.h"

#include "stock_kernel.h"

#include "jit.h"
#include "root.h"

/* The label of the publishing store, in adaptive_jit_swap_code. */
extern const char bareflow_publish_store[];
void debug_interface_start(void);
void debug_interface_hold(void);

/* The library's functions, and where a debugger stops. */
static const struct bf_symbol exports[] = {
    EXPORT(serial_init), EXPORT(serial_putchar), EXPORT(serial_write), EXPORT(serial_writestring),
    EXPORT(serial_printf), EXPORT(terminal_initialize), EXPORT(terminal_setcolor), EXPORT(terminal_putchar),
    EXPORT(terminal_write), EXPORT(terminal_writestring), EXPORT(terminal_clear), EXPORT(kputs), EXPORT(kprintf),
    EXPORT(malloc), EXPORT(calloc), EXPORT(free), EXPORT(heap_free_bytes),
    EXPORT(memcpy), EXPORT(memmove), EXPORT(memset), EXPORT(memcmp), EXPORT(strlen), EXPORT(strcmp),
    EXPORT(strncmp), EXPORT(strcpy), EXPORT(strncpy),
    EXPORT(cpu_identify), EXPORT(cpu_halt), EXPORT(timer_ticks), EXPORT(idt_set_handler),
    EXPORT(jit_profile_init), EXPORT(jit_profile_begin), EXPORT(jit_profile_end), EXPORT(jit_profile_find),
    EXPORT(jit_profile_print), EXPORT(jit_profile_export), EXPORT(jit_optimize_register),
    EXPORT(jit_optimize_request), EXPORT(jit_optimize_all), EXPORT(jit_optimize_level), EXPORT(jit_optimize_code),
    EXPORT(jit_optimize_add), EXPORT(jit_optimize_call),
    EXPORT(adaptive_jit_call), EXPORT(adaptive_jit_swap_code), EXPORT(bareflow_publish_store),
    EXPORT(bareflow_hook_swap), EXPORT(bareflow_hook_exception), EXPORT(bareflow_hook_pool_fail),
    EXPORT(bareflow_hook_register), EXPORT(bareflow_hook_reject), EXPORT(bareflow_hook_phase),
    EXPORT(bareflow_hook_kernel),
};

struct bf_root bareflow_root __attribute__((aligned(16))) = {
    ROOT_COMMON(BF_VARIANT_UNIKERNEL),
    .function_profiler = (bf_ptr)&adaptive_jit.profiler,
    .adaptive_jit = (bf_ptr)&adaptive_jit,
    .function_table = (bf_ptr)function_table,
    .version_table = (bf_ptr)version_table,
    .version_causes = (bf_ptr)version_causes,
    .pools = (bf_ptr)g_pools,
    .block_table = BLOCK_TABLE_ADDRESS,
    .mailbox = BF_MAILBOX_HEADER,
    .jit_profile = (bf_ptr)&jit_profile,
    .asks = BF_ASKS_APPLICATION,
};

void debug_interface_start(void) {
    ring_init();
    mailbox_init();
    jit_allocator_init();
    boot_stage(BF_STAGE_POOLS);
    adaptive_jit_init();
}

void debug_interface_hold(void) {
    adaptive_jit_wait_while_held();
}
