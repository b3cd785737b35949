/* The debug interface of an application: the root descriptor, the exports, a hold before main. Left out by NODEBUG=1. */
#include "jit_runtime.h"

#include "root.h"

extern struct bf_root bareflow_root;
extern struct bf_status bareflow_status;
void ring_init(void);
void debug_interface_start(void);

/* The library's functions. */
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
};

struct bf_root bareflow_root __attribute__((aligned(16))) = {
    ROOT_COMMON(BF_VARIANT_UNIKERNEL),
    .jit_profile = (bf_ptr)&jit_profile,
};

/* Waits as long as a debugger or a test asks for it: the hold word is read anew each time. */
void debug_interface_start(void) {
    ring_init();
    boot_stage(BF_STAGE_REGISTERED);
    while (*(volatile uint32_t *)&bareflow_root.hold != 0)
        cpu_idle();
}
