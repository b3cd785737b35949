/*
 * The demo of a field generation: FIELD_DEMOS functions are measured, one after the other, by direct calls; all minima
 * are preset. Linked at another address than it is loaded at, its names read as empty.
 */
#include "functions.h"
#include "unikernel/unikernel.h"

_Noreturn void kernel_main(void);

#define MEASURE(name, function, argument, calls)                                                                       \
    for (uint32_t i = 0; i < (calls); i++) {                                                                           \
        jit_profile_begin(&profile, name);                                                                             \
        function(argument, 0);                                                                                         \
        jit_profile_end(&profile, name);                                                                               \
    }

_Noreturn void kernel_main(void) {
    jit_profile_t profile;

    serial_init();
    serial_writestring("[serial] init ok\n");
    jit_profile_init(&profile);
    MEASURE("fibonacci", fibonacci_O2, 10, 10)
#if FIELD_DEMOS > 1
    MEASURE("sum_to_n", sum_to_n_O2, 1000, 100)
#endif
#if FIELD_DEMOS > 2
    MEASURE("count_primes", count_primes_O2, 100, 5)
#endif
    serial_writestring("[tinyllama] Demo complete. System halted.\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}
