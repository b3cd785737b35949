/*
 * What does a person type, on the keyboard or on COM1? Looked for between two tokens and while nothing is asked: keys
 * are in the keyboard's queue, the UART keeps 16 bytes and QEMU the rest until they are read, so no interrupt is needed.
 */
#include "typed.h"

#include "answer.h"

#include "runtime.h"

#include "core.h"

#define COM1_DATA 0x3F8
#define COM1_LINE_STATUS 0x3FD
#define DATA_READY 0x01
#define NO_PORT 0xFF            /* what is read where no device answers */
#define CTRL_C 0x03
#define ESCAPE 0x1B
#define DELETE 0x7F
#define MOST_AT_ONCE 4096       /* a port where nothing is must not keep the guest */

static char text[2 * MOST_TEXT];        /* lines that wait, then the one that is typed */
static uint32_t bytes;
static bool stop;

static void remove_last(bool echo) {
    char last;

    if (bytes == 0 || text[bytes - 1] == '\n')
        return;
    do
        last = text[--bytes];
    while ((last & 0xC0) == 0x80 && bytes != 0);        /* of a character in UTF-8, all */
    if (echo)
        kprintf("\b \b");
}

static void take(char c, bool echo) {
    if (c == '\r')
        c = '\n';
    if (c == '\b' || c == DELETE) {
        remove_last(echo);
        return;
    }
    if (c == CTRL_C) {
        stop = true;
        while (bytes != 0 && text[bytes - 1] != '\n')
            remove_last(echo);
        return;
    }
    /* An empty line is none. The last byte is a line's end. */
    if ((c >= 0 && c < ' ' && c != '\n') || (c == '\n' && (bytes == 0 || text[bytes - 1] == '\n')) ||
        bytes + (c != '\n') >= sizeof text)
        return;
    text[bytes++] = c;
    if (echo)
        kputchar(c);
}

/* The next byte that came in on COM1, -1 when there is none. */
static int serial_poll(void) {
    uint8_t status = inb(COM1_LINE_STATUS);
    return status == NO_PORT || !(status & DATA_READY) ? -1 : inb(COM1_DATA);
}

void typed_look(bool echo) {
    int c;

    while ((c = keyboard_poll()) >= 0)
        take(c == ESCAPE ? CTRL_C : (char)c, echo);
    for (uint32_t taken = 0; taken < MOST_AT_ONCE && (c = serial_poll()) >= 0; taken++)
        take((char)c, echo);
}

uint32_t typed_line(char *line) {
    uint32_t end = 0;

    while (end < bytes && text[end] != '\n')
        end++;
    if (end == bytes)
        return 0;
    uint32_t length = end < MOST_TEXT ? end : MOST_TEXT;
    memcpy(line, text, length);
    bytes -= end + 1;
    memmove(text, text + end + 1, bytes);
    return length;
}

bool typed_stop(void) {
    bool was = stop;

    stop = false;
    return was;
}
