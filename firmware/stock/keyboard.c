/* The keyboard, polled: these kernels run with interrupts off. (IBM PS/2 hardware interface reference, 8042) */
#include "stock.h"

#ifdef INTERACTIVE
#define DATA_PORT 0x60
#define STATUS_PORT 0x64
#define STATUS_OUTPUT_FULL 0x01
#define RELEASED 0x80

void wait_for_key(const char *before) {
    terminal_printf("Press any key: %s\n", before);
    for (;;) {
        while (!(inb(STATUS_PORT) & STATUS_OUTPUT_FULL))
            cpu_pause();
        if (!(inb(DATA_PORT) & RELEASED))
            return;
    }
}
#else
void wait_for_key(const char *before) {
    (void)before;
}
#endif
