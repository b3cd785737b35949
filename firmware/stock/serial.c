/* COM1, a 16550 UART (National Semiconductor PC16550D data sheet), 8N1, polled. No log is kept in memory. */
#include "stock.h"

#ifndef SERIAL_DIVISOR
#define SERIAL_DIVISOR 1        /* 115200 baud */
#endif

#define COM1 0x3F8
#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define LSR_THR_EMPTY 0x20
#define SPINS 100000            /* a UART that never gets ready must not stop the kernel */

void serial_init(void) {
    outb(COM1 + 1, 0);          /* no interrupts */
    outb(COM1 + 3, LCR_DLAB);
    outb(COM1 + 0, SERIAL_DIVISOR);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, LCR_8N1);
    outb(COM1 + 2, 0x07);       /* FIFOs on and cleared */
    outb(COM1 + 4, 0x03);       /* DTR, RTS */
}

void serial_putchar(char c) {
    for (int spins = 0; spins < SPINS && !(inb(COM1 + 5) & LSR_THR_EMPTY); spins++)
        cpu_pause();
    outb(COM1, (uint8_t)c);
}

void serial_write(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        serial_putchar(text[i]);
}

void serial_writestring(const char *text) {
    serial_write(text, strlen(text));
}
