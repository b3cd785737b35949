/*
 * The PS/2 keyboard: the 8042 controller (IBM PS/2 hardware interface reference, keyboard controller) translates to
 * scan code set 1 and raises IRQ 1. Interactive builds wait for keys; automated builds never do.
 */
#include "defs.h"

#define DATA_PORT 0x60
#define STATUS_PORT 0x64
#define STATUS_OUTPUT_FULL 0x01
#define KEYBOARD_LINE 1
#define RELEASED 0x80
#define EXTENDED 0xE0
#define LEFT_SHIFT 0x2A
#define RIGHT_SHIFT 0x36
#define KEYS 64                         /* capacity of the queue, a power of two */

/* US layout, by scan code; 0 = no character. */
static const char plain[] = "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "\0\033!@#$%^&*()_+\b\tQWERTYUIOP{}\n\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

static char keys[KEYS];
static volatile uint32_t keys_written;
static volatile uint32_t keys_read;
static uint32_t shifts;                 /* bit 0: left, bit 1: right */
static bool extended;

static void take(uint8_t code) {
    if (code == EXTENDED) {
        extended = true;
        return;
    }
    bool is_extended = extended;
    extended = false;
    bool released = code & RELEASED;
    code &= (uint8_t)~RELEASED;
    if (!is_extended && (code == LEFT_SHIFT || code == RIGHT_SHIFT)) {
        uint32_t bit = code == LEFT_SHIFT ? 1 : 2;
        shifts = released ? shifts & ~bit : shifts | bit;
        return;
    }
    if (released || code >= sizeof plain - 1)
        return;
    char c = (shifts ? shifted : plain)[code];
    if (c && keys_written - keys_read < KEYS)
        keys[keys_written++ & (KEYS - 1)] = c;
}

static void key_changed(struct interrupt_frame *frame) {
    (void)frame;
    take(inb(DATA_PORT));
}

void keyboard_init(void) {
    for (int bytes = 0; bytes < 16 && inb(STATUS_PORT) & STATUS_OUTPUT_FULL; bytes++)
        (void)inb(DATA_PORT);           /* a byte left over from the BIOS would block the line */
    irq_set_handler(KEYBOARD_LINE, key_changed);
    pic_unmask(KEYBOARD_LINE);
}

int keyboard_poll(void) {
    return keys_read == keys_written ? -1 : (uint8_t)keys[keys_read++ & (KEYS - 1)];
}

char keyboard_wait(void) {
    int key;
    while ((key = keyboard_poll()) < 0)
        cpu_idle();                     /* the timer wakes it too, so a key between poll and HLT is not missed */
    return (char)key;
}

void keyboard_pause(const char *before) {
#ifdef INTERACTIVE
    kprintf("[INTERACTIVE] %s: press a key\n", before);
    (void)keyboard_wait();
#else
    (void)before;
#endif
}
