/* What kernel/idt.c asks of its kernel. Here an exception is told on VGA only. */
#include "stock.h"

/* All that these kernels use is below 1 MiB. */
uint32_t ram_end(void) {
    return 0x00100000;
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
