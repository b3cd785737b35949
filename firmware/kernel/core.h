/* The kernel core: CPU, console, interrupts, time, heap, C library subset. */
#pragma once

/* kernel_main calls it once the core is up (stage BF_STAGE_CORE); it does not return. */
_Noreturn void bareflow_run(void);

/* cpu.c, and what one instruction does */
static inline uint64_t rdtsc(void) {
    uint64_t ticks;
    __asm__ volatile("rdtsc" : "=A"(ticks));
    return ticks;
}

static inline void outb(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void outl(uint16_t port, uint32_t value) {
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t inl(uint16_t port) {
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void cpu_pause(void) {
    __asm__ volatile("pause" : : : "memory");
}

/* Waits for an interrupt; interrupts are on afterwards. STI delays them by one instruction: none is missed. */
static inline void cpu_idle(void) {
    __asm__ volatile("sti; hlt" : : : "memory");
}

static inline void interrupts_on(void) {
    __asm__ volatile("sti" : : : "memory");
}

static inline void interrupts_off(void) {
    __asm__ volatile("cli" : : : "memory");
}

_Noreturn void cpu_halt(void);

struct cpu_features {
    char vendor[13];
    uint32_t family;
    uint32_t model;
    uint32_t stepping;
    uint32_t edx;               /* CPUID leaf 1 */
    uint32_t ecx;
};

void cpu_identify(struct cpu_features *features);
void cpu_init_x87(void);
uint32_t cpu_enable_vectors(void);  /* enum bf_feature bits: what the CPU has, and is switched on now */

/* boot_record.c: the record at 0x600 */
#define boot_record ((volatile struct bf_boot_record *)BF_BOOT_RECORD_ADDRESS)
#define model_record ((volatile struct bf_model_record *)BF_MODEL_RECORD_ADDRESS)
void boot_stage(uint32_t stage);
void model_record_init(void);   /* no model yet */
uint32_t ram_end(void);

/* serial.c: COM1; everything printed there also goes to the log buffer */
extern struct bf_log bareflow_log;
void serial_init(void);
void serial_putchar(char c);
void serial_write(const char *text, size_t length);
void serial_writestring(const char *text);

/* vga.c: text mode 80 x 25 */
enum vga_color {
    VGA_BLACK, VGA_BLUE, VGA_GREEN, VGA_CYAN, VGA_RED, VGA_MAGENTA, VGA_BROWN, VGA_LIGHT_GREY,
    VGA_DARK_GREY, VGA_LIGHT_BLUE, VGA_LIGHT_GREEN, VGA_LIGHT_CYAN, VGA_LIGHT_RED, VGA_LIGHT_MAGENTA, VGA_YELLOW,
    VGA_WHITE
};
void terminal_initialize(void);
void terminal_setcolor(uint8_t foreground, uint8_t background);
void terminal_putchar(char c);
void terminal_write(const char *text, size_t length);
void terminal_writestring(const char *text);
void terminal_clear(void);
void vga_initialize(void);
void vga_setcolor(uint8_t foreground, uint8_t background);
void vga_putchar(char c);
void vga_write(const char *text, size_t length);
void vga_writestring(const char *text);
void vga_clear(void);

/*
 * printf.c: %c %s %d %i %u %x %X %p %%, with flags `0` and `-`, width, `.precision` for %s, and `l` or `ll`.
 * kprintf prints on COM1 and VGA, the two others on one of them; sprintf-like ones return the length that the
 * whole text needs.
 */
void kputchar(char c);
void kputs(const char *text);
extern bool log_silent;      /* kprintf prints nothing */
__attribute__((format(printf, 1, 2))) void kprintf(const char *format, ...);
__attribute__((format(printf, 1, 2))) void serial_printf(const char *format, ...);
__attribute__((format(printf, 1, 2))) void terminal_printf(const char *format, ...);
__attribute__((format(printf, 3, 4))) size_t ksnprintf(char *out, size_t size, const char *format, ...);

/* idt.c */
struct interrupt_frame {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;    /* PUSHA; esp as it was after the CPU's own pushes */
    uint32_t vector;
    uint32_t error_code;                                /* 0 where the CPU pushes none */
    uint32_t eip, cs, eflags;
};
typedef void (*interrupt_handler)(struct interrupt_frame *frame);
void idt_init(void);
void idt_set_handler(uint32_t vector, interrupt_handler handler);

/* exception.c */
extern struct bf_exception bareflow_exception;
_Noreturn void exception_take(struct interrupt_frame *frame);
_Noreturn void exception_with_wild_stack(struct interrupt_frame *frame);
const char *exception_name(uint32_t vector);

/* pic.c */
#define PIC_VECTOR_BASE 0x20
void pic_init(void);
void pic_unmask(uint32_t line);
void pic_mask(uint32_t line);
void pic_end_of_interrupt(uint32_t line);
void irq_set_handler(uint32_t line, interrupt_handler handler);

/* timer.c */
#define TIMER_HZ 250
void timer_init(void);
uint32_t timer_ticks(void);
uint64_t timer_measure_tsc_hz(void);

/* keyboard.c */
void keyboard_init(void);
int keyboard_poll(void);        /* the next character, -1 when no key was pressed */
char keyboard_wait(void);
/* In a build with INTERACTIVE=1: says what comes next and waits for a key. Otherwise nothing. */
void keyboard_pause(const char *before);

/* heap.c: a bump allocator over BF_HEAP_BASE, 16-byte aligned */
extern uint32_t heap_offset;
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void free(void *pointer);       /* does nothing: a bump heap gives nothing back */
size_t heap_free_bytes(void);

/* string.c */
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
char *strcpy(char *restrict to, const char *restrict from);
char *strncpy(char *restrict to, const char *restrict from, size_t size);

/*
 * What the core tells the rest of the kernel; each is skipped when nothing in the image defines it. Exception, IRQ
 * and console lines printed by them may come from interrupt context.
 */
__attribute__((weak)) void event_boot(uint32_t stage);
__attribute__((weak)) void event_exception(const struct bf_exception *record);
__attribute__((weak)) void event_irq(uint32_t line, uint32_t tick);
__attribute__((weak)) void event_console(uint32_t bytes, uint32_t position);
__attribute__((weak)) void bareflow_hook_exception(const struct bf_exception *record);
