/* The stock TinyLlama unikernel: it profiles its own functions and reports. Its profile is a local of this function. */
#include "functions.h"
#include "unikernel.h"

_Noreturn void kernel_main(void);

static const struct demo {
    const char *name;
    jit_code_t code;
    int32_t argument;
    int32_t expected;
    uint32_t calls;
} demos[] = {
    {"fibonacci", fibonacci_O2, 10, 55, 10},
    {"sum_to_n", sum_to_n_O2, 1000, 500500, 100},
    {"count_primes", count_primes_O2, 100, 25, 5},
};

static void profiled_calls(jit_profile_t *profile, const struct demo *demo) {
    int32_t result = 0;

    for (uint32_t i = 0; i < demo->calls; i++) {
        jit_profile_begin(profile, demo->name);
        result = demo->code(demo->argument, 0);
        jit_profile_end(profile, demo->name);
    }
    kprintf("[tinyllama] %s(%d) = %d  %s\n", demo->name, demo->argument, result,
            result == demo->expected ? "[OK]" : "[FAILED]");
}

_Noreturn void kernel_main(void) {
    jit_profile_t profile;

    serial_init();
    serial_writestring("[serial] init ok\n");
    terminal_initialize();
    idt_init();
    pic_init();
    jit_allocator_init();
    terminal_setcolor(VGA_LIGHT_GREEN, VGA_BLACK);
    terminal_writestring("TinyLlama Unikernel v0.1\n");
    serial_writestring("[tinyllama] TinyLlama Unikernel v0.1 - Self-Profiling Demo\n");
    terminal_setcolor(VGA_LIGHT_GREY, VGA_BLACK);

    jit_profile_init(&profile);
    for (uint32_t i = 0; i < sizeof demos / sizeof demos[0]; i++)
        profiled_calls(&profile, &demos[i]);
    terminal_setcolor(VGA_YELLOW, VGA_BLACK);
    jit_profile_print(&profile);
    terminal_setcolor(VGA_LIGHT_GREY, VGA_BLACK);
    kprintf("[tinyllama] Demo complete. System halted.\n");
    cpu_halt();
}
