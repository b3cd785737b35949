/* The two 8259A interrupt controllers (Intel 8259A data sheet), moved off the exceptions' vectors. */
#include "defs.h"

#define MASTER_COMMAND 0x20
#define MASTER_DATA 0x21
#define SLAVE_COMMAND 0xA0
#define SLAVE_DATA 0xA1
#define ICW1_INIT_ICW4 0x11
#define ICW4_8086 0x01
#define CASCADE_LINE 2
#define OCW2_END 0x20
#define OCW3_READ_ISR 0x0B

static interrupt_handler handlers[16];

void pic_init(void) {
    outb(MASTER_COMMAND, ICW1_INIT_ICW4);
    outb(SLAVE_COMMAND, ICW1_INIT_ICW4);
    outb(MASTER_DATA, PIC_VECTOR_BASE);
    outb(SLAVE_DATA, PIC_VECTOR_BASE + 8);
    outb(MASTER_DATA, 1 << CASCADE_LINE);
    outb(SLAVE_DATA, CASCADE_LINE);
    outb(MASTER_DATA, ICW4_8086);
    outb(SLAVE_DATA, ICW4_8086);
    outb(MASTER_DATA, (uint8_t)~(1 << CASCADE_LINE));
    outb(SLAVE_DATA, 0xFF);
}

void pic_unmask(uint32_t line) {
    uint16_t port = line < 8 ? MASTER_DATA : SLAVE_DATA;
    outb(port, inb(port) & (uint8_t)~(1u << (line & 7)));
}

void pic_mask(uint32_t line) {
    uint16_t port = line < 8 ? MASTER_DATA : SLAVE_DATA;
    outb(port, inb(port) | (uint8_t)(1u << (line & 7)));
}

void pic_end_of_interrupt(uint32_t line) {
    if (line >= 8)
        outb(SLAVE_COMMAND, OCW2_END);
    outb(MASTER_COMMAND, OCW2_END);
}

/* An interrupt that went away before it was acknowledged comes as line 7 or 15 and is not in service. */
static bool spurious(uint32_t line) {
    uint16_t port = line < 8 ? MASTER_COMMAND : SLAVE_COMMAND;
    if ((line & 7) != 7)
        return false;
    outb(port, OCW3_READ_ISR);
    if (inb(port) & 0x80)
        return false;
    if (line >= 8)
        outb(MASTER_COMMAND, OCW2_END); /* the cascade itself was real */
    return true;
}

static void dispatch(struct interrupt_frame *frame) {
    uint32_t line = frame->vector - PIC_VECTOR_BASE;
    if (spurious(line))
        return;
    if (handlers[line])
        handlers[line](frame);
    pic_end_of_interrupt(line);
}

void irq_set_handler(uint32_t line, interrupt_handler handler) {
    handlers[line] = handler;
    idt_set_handler(PIC_VECTOR_BASE + line, dispatch);
}
