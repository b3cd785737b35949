/* The IDT (Intel SDM vol. 3A, 6.10-6.12) with all vectors of vectors.asm; an exception is told on VGA only. */
#include "stock.h"

#define VECTORS 48
#define CODE_SEGMENT 0x08
#define INTERRUPT_GATE32 0x8E   /* present, ring 0 */

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
extern uint32_t interrupt_ram_end;
void interrupt_dispatch(struct interrupt_frame *frame);

static struct gate idt[VECTORS];
static interrupt_handler handlers[VECTORS];

void idt_init(void) {
    for (uint32_t vector = 0; vector < VECTORS; vector++)
        idt[vector] = (struct gate){
            .offset_low = (uint16_t)interrupt_stubs[vector],
            .segment = CODE_SEGMENT,
            .type = INTERRUPT_GATE32,
            .offset_high = (uint16_t)(interrupt_stubs[vector] >> 16),
        };
    interrupt_ram_end = 0x00100000; /* all that these kernels use is below 1 MiB */
    struct table_pointer pointer = {sizeof idt - 1, (uint32_t)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

_Noreturn void exception_take(struct interrupt_frame *frame) {
    terminal_setcolor(VGA_WHITE, VGA_RED);
    terminal_printf("\n[EXCEPTION] CPU Exception caught!\n");
    terminal_printf("[EXCEPTION] vector %u, error code 0x%08x, EIP 0x%08x\n", frame->vector, frame->error_code,
                    frame->eip);
    terminal_printf("  EAX 0x%08x EBX 0x%08x ECX 0x%08x EDX 0x%08x\n", frame->eax, frame->ebx, frame->ecx,
                    frame->edx);
    terminal_printf("  ESI 0x%08x EDI 0x%08x EBP 0x%08x ESP 0x%08x\n", frame->esi, frame->edi, frame->ebp,
                    (uint32_t)(frame + 1));
    terminal_printf("[EXCEPTION] System halted.\n");
    cpu_halt();
}

_Noreturn void exception_with_wild_stack(struct interrupt_frame *frame) {
    exception_take(frame);
}

void idt_set_handler(uint32_t vector, interrupt_handler handler) {
    handlers[vector] = handler;
}

/* Called by every stub. Interrupts stay off in these kernels; one without a handler is a spurious one. */
void interrupt_dispatch(struct interrupt_frame *frame) {
    if (handlers[frame->vector])
        handlers[frame->vector](frame);
    else if (frame->vector < PIC_VECTOR_BASE)
        exception_take(frame);
}
