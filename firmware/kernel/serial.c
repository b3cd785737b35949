/* COM1, a 16550 UART (National Semiconductor PC16550D data sheet), 115200 baud, 8N1, polled; and the log buffer. */
#include "defs.h"

#define COM1 0x3F8
#define DATA (COM1 + 0)
#define INTERRUPT_ENABLE (COM1 + 1)
#define DIVISOR_LOW (COM1 + 0)          /* while LCR_DLAB is set */
#define DIVISOR_HIGH (COM1 + 1)
#define FIFO_CONTROL (COM1 + 2)
#define LINE_CONTROL (COM1 + 3)
#define MODEM_CONTROL (COM1 + 4)
#define LINE_STATUS (COM1 + 5)
#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define FCR_ENABLE_AND_CLEAR 0x07
#define MCR_DTR_RTS 0x03
#define LSR_THR_EMPTY 0x20

#define SPINS 100000                    /* a UART that never gets ready must not stop the kernel */

static char log_text[BF_LOG_BYTES];
struct bf_log bareflow_log;
static uint32_t line_bytes;

void serial_init(void) {
    bareflow_log.capacity = sizeof log_text;
    bareflow_log.text = (bf_ptr)log_text;
    bareflow_log.written = 0;
    bareflow_log.magic = BF_LOG_MAGIC;

    outb(INTERRUPT_ENABLE, 0);
    outb(LINE_CONTROL, LCR_DLAB);
    outb(DIVISOR_LOW, BF_COM1_DIVISOR);
    outb(DIVISOR_HIGH, 0);
    bareflow_status.com1_divisor = inb(DIVISOR_LOW) | (uint32_t)inb(DIVISOR_HIGH) << 8;
    outb(LINE_CONTROL, LCR_8N1);
    outb(FIFO_CONTROL, FCR_ENABLE_AND_CLEAR);
    outb(MODEM_CONTROL, MCR_DTR_RTS);
}

static void log_putchar(char c) {
    uint32_t at = bareflow_log.written;
    log_text[at & (BF_LOG_BYTES - 1)] = c;
    __atomic_store_n(&bareflow_log.written, at + 1, __ATOMIC_RELEASE);
    line_bytes++;
    if (c == '\n') {
        if (event_console)
            event_console(line_bytes, at + 1 - line_bytes);
        line_bytes = 0;
    }
}

void serial_putchar(char c) {
    for (int spins = 0; spins < SPINS && !(inb(LINE_STATUS) & LSR_THR_EMPTY); spins++)
        cpu_pause();
    outb(DATA, (uint8_t)c);
    log_putchar(c);
}

void serial_write(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        serial_putchar(text[i]);
}

void serial_writestring(const char *text) {
    serial_write(text, strlen(text));
}
