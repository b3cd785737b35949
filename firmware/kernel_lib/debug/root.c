/* The debug interface of an application: the root descriptor, the exports, a hold before main. Left out by NODEBUG=1. */
#include "jit_runtime.h"

extern struct bf_root bareflow_root;
extern struct bf_status bareflow_status;
void ring_init(void);
void debug_interface_start(void);

/* As a field name. */
#undef boot_record

/* The library's functions. Size 0: not known here; the ELF has it. */
#define EXPORT(symbol) {.name = #symbol, .address = (bf_ptr)symbol}
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

/* Sizes, build id and checksum are filled in by bareflow_gdb.build.finish_image. */
struct bf_root bareflow_root __attribute__((aligned(16))) = {
    .magic = {BF_ROOT_MAGIC0, BF_ROOT_MAGIC1, BF_ROOT_MAGIC2, BF_ROOT_MAGIC3},
    .abi_major = BF_ABI_MAJOR,
    .abi_minor = BF_ABI_MINOR,
    .size = sizeof(struct bf_root),
    .checked_size = offsetof(struct bf_root, thresholds),
    .variant = BF_VARIANT_UNIKERNEL,
    .cpu_count = 1,
    .boot_record = BF_BOOT_RECORD_ADDRESS,
    .rings = {BF_RING0_HEADER, BF_RING1_HEADER},
    .exception = (bf_ptr)&bareflow_exception,
    .jit_profile = (bf_ptr)&jit_profile,
    .log_buffer = (bf_ptr)&bareflow_log,
    .exports = (bf_ptr)exports,
    .export_count = sizeof exports / sizeof exports[0],
    .status = (bf_ptr)&bareflow_status,
    .thresholds = {100, 1000, 10000},
};

/* Waits as long as a debugger or a test asks for it: the hold word is read anew each time. */
void debug_interface_start(void) {
    ring_init();
    boot_stage(BF_STAGE_REGISTERED);
    while (*(volatile uint32_t *)&bareflow_root.hold != 0)
        cpu_idle();
}
