/* The interrupt descriptor table (Intel SDM vol. 3A, 6.10-6.12): every vector leads to a stub of vectors.asm. */
#include "defs.h"

#define VECTORS 48                  /* 32 exceptions, 16 lines of the PICs */
#define CODE_SEGMENT 0x08
#define INTERRUPT_GATE32 0x8E       /* present, ring 0; an interrupt gate turns interrupts off */

struct gate {
    uint16_t offset_low;
    uint16_t segment;
    uint8_t zero;
    uint8_t type;
    uint16_t offset_high;
};

struct table_pointer {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

/* vectors.asm */
extern const uint32_t interrupt_stubs[VECTORS];
extern uint32_t interrupt_ram_end;  /* no stack is above it */
void interrupt_dispatch(struct interrupt_frame *frame);

struct gate idt[VECTORS];
static interrupt_handler handlers[VECTORS];

void idt_init(void) {
    for (uint32_t vector = 0; vector < VECTORS; vector++)
        idt[vector] = (struct gate){
            .offset_low = (uint16_t)interrupt_stubs[vector],
            .segment = CODE_SEGMENT,
            .type = INTERRUPT_GATE32,
            .offset_high = (uint16_t)(interrupt_stubs[vector] >> 16),
        };
    interrupt_ram_end = ram_end();
    struct table_pointer pointer = {sizeof idt - 1, (uint32_t)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

void idt_set_handler(uint32_t vector, interrupt_handler handler) {
    handlers[vector] = handler;
}

/* Called by every stub, interrupts off. */
void interrupt_dispatch(struct interrupt_frame *frame) {
    if (handlers[frame->vector])
        handlers[frame->vector](frame);
    else if (frame->vector < PIC_VECTOR_BASE)
        exception_take(frame);
}
