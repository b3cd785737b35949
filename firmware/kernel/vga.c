/*
 * VGA text mode 3: 80 x 25 cells of character and attribute at 0xB8000 (IBM VGA technical reference, text modes).
 * Only cells that change are written: device memory is slow, above all under emulation.
 */
#include "defs.h"

#define COLUMNS 80
#define ROWS 25
#define CRTC_INDEX 0x3D4
#define CRTC_DATA 0x3D5
#define CRTC_CURSOR_HIGH 0x0E
#define CRTC_CURSOR_LOW 0x0F

_Static_assert(COLUMNS * ROWS * 2 == BF_VGA_TEXT_BYTES, "the contract's screen is 80 x 25");

static volatile uint16_t *const screen = (volatile uint16_t *)BF_VGA_TEXT;
static uint16_t shown[ROWS * COLUMNS];  /* what the screen holds */
static uint32_t row;
static uint32_t column;
static uint8_t colour = VGA_LIGHT_GREY;

static uint16_t cell(char c) {
    return (uint16_t)((uint16_t)colour << 8 | (uint8_t)c);
}

static void put(uint32_t at, uint16_t value) {
    if (shown[at] != value) {
        shown[at] = value;
        screen[at] = value;
    }
}

static void move_cursor(void) {
    uint32_t at = row * COLUMNS + column;
    outb(CRTC_INDEX, CRTC_CURSOR_HIGH);
    outb(CRTC_DATA, (uint8_t)(at >> 8));
    outb(CRTC_INDEX, CRTC_CURSOR_LOW);
    outb(CRTC_DATA, (uint8_t)at);
}

void terminal_clear(void) {
    for (uint32_t at = 0; at < ROWS * COLUMNS; at++)
        put(at, cell(' '));
    row = column = 0;
    move_cursor();
}

void terminal_initialize(void) {
    for (uint32_t at = 0; at < ROWS * COLUMNS; at++)
        shown[at] = screen[at];
    terminal_clear();
}

void terminal_setcolor(uint8_t foreground, uint8_t background) {
    colour = (uint8_t)(background << 4 | (foreground & 0x0F));
}

static void new_line(void) {
    column = 0;
    if (++row == ROWS) {
        row = ROWS - 1;
        for (uint32_t at = 0; at < (ROWS - 1) * COLUMNS; at++)
            put(at, shown[at + COLUMNS]);
        for (uint32_t at = (ROWS - 1) * COLUMNS; at < ROWS * COLUMNS; at++)
            put(at, cell(' '));
    }
    move_cursor();
}

void terminal_putchar(char c) {
    switch (c) {
    case '\n':
        new_line();
        return;
    case '\r':
        column = 0;
        return;
    case '\t':
        do
            terminal_putchar(' ');
        while (column % 8);
        return;
    case '\b':
        if (column > 0)
            put(row * COLUMNS + --column, cell(' '));
        move_cursor();
        return;
    }
    if (column == COLUMNS)
        new_line();
    put(row * COLUMNS + column++, cell(c));
}

void terminal_write(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        terminal_putchar(text[i]);
}

void terminal_writestring(const char *text) {
    terminal_write(text, strlen(text));
}

/* The other family of names by which programs know the same functions. */
__attribute__((alias("terminal_initialize"))) void vga_initialize(void);
__attribute__((alias("terminal_setcolor"))) void vga_setcolor(uint8_t foreground, uint8_t background);
__attribute__((alias("terminal_putchar"))) void vga_putchar(char c);
__attribute__((alias("terminal_write"))) void vga_write(const char *text, size_t length);
__attribute__((alias("terminal_writestring"))) void vga_writestring(const char *text);
__attribute__((alias("terminal_clear"))) void vga_clear(void);
