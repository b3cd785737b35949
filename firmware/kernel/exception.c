/* A CPU exception ends the run: it is recorded, told on COM1 and VGA, and the machine halts. */
#include "defs.h"

struct bf_exception bareflow_exception;
static bool taken;
static bool wild_stack;                 /* ESP pointed at no RAM: EIP and the error code are lost */

/* Intel SDM vol. 3A, table 6-1, and AMD APM vol. 2, 8.2 for vectors 28 to 30. */
static const char *const names[32] = {
    [0] = "#DE divide error", [1] = "#DB debug", [2] = "NMI", [3] = "#BP breakpoint", [4] = "#OF overflow",
    [5] = "#BR bound range exceeded", [6] = "#UD invalid opcode", [7] = "#NM device not available",
    [8] = "#DF double fault", [9] = "coprocessor segment overrun", [10] = "#TS invalid TSS",
    [11] = "#NP segment not present", [12] = "#SS stack-segment fault", [13] = "#GP general protection",
    [14] = "#PF page fault", [16] = "#MF x87 floating-point error", [17] = "#AC alignment check",
    [18] = "#MC machine check", [19] = "#XM SIMD floating-point", [20] = "#VE virtualization",
    [21] = "#CP control protection", [28] = "#HV hypervisor injection", [29] = "#VC VMM communication",
    [30] = "#SX security",
};

const char *exception_name(uint32_t vector) {
    return vector < 32 && names[vector] ? names[vector] : "reserved";
}

/* Memory that may be read: RAM, not the hole from 640 KiB to 1 MiB, where a read can have effects. */
static bool is_ram(uint32_t address, uint32_t size) {
    uint32_t end = ram_end();
    return size <= end && address <= end - size && (address + size <= 0x000A0000 || address >= 0x00100000);
}

static void fill(struct bf_exception *record, const struct interrupt_frame *frame) {
    record->vector = frame->vector;
    record->error_code = frame->error_code;
    record->eip = frame->eip;
    record->cs = frame->cs;
    record->eflags = frame->eflags;
    record->eax = frame->eax;
    record->ecx = frame->ecx;
    record->edx = frame->edx;
    record->ebx = frame->ebx;
    record->esp = wild_stack ? frame->esp : (uint32_t)(frame + 1);  /* same privilege: no stack was switched */
    record->ebp = frame->ebp;
    record->esi = frame->esi;
    record->edi = frame->edi;
    __asm__ volatile("mov %%cr0, %0" : "=r"(record->cr0));
    __asm__ volatile("mov %%cr2, %0" : "=r"(record->cr2));
    __asm__ volatile("mov %%cr3, %0" : "=r"(record->cr3));
    __asm__ volatile("mov %%cr4, %0" : "=r"(record->cr4));
    record->tsc = rdtsc();
    if (!wild_stack && is_ram(frame->eip, sizeof record->code))
        memcpy(record->code, (const void *)frame->eip, sizeof record->code);
}

static void print(const struct bf_exception *record) {
    terminal_setcolor(VGA_WHITE, VGA_RED);
    kprintf("\n[EXCEPTION] CPU Exception caught!\n");
    kprintf("[EXCEPTION] vector %u (%s), error code 0x%08x, EIP 0x%08x\n", record->vector,
            exception_name(record->vector), record->error_code, record->eip);
    kprintf("  EAX 0x%08x EBX 0x%08x ECX 0x%08x EDX 0x%08x\n", record->eax, record->ebx, record->ecx,
            record->edx);
    kprintf("  ESI 0x%08x EDI 0x%08x EBP 0x%08x ESP 0x%08x\n", record->esi, record->edi, record->ebp,
            record->esp);
    kprintf("  CS 0x%04x EFLAGS 0x%08x CR0 0x%08x CR2 0x%08x\n", record->cs, record->eflags, record->cr0,
            record->cr2);
    if (wild_stack)
        kputs("  ESP is not in RAM: EIP, EFLAGS and the error code are lost");
    else {
        kputs("  code");
        for (uint32_t i = 0; i < sizeof record->code; i++)
            kprintf(" %02x", record->code[i]);
    }
    kputs("\n[EXCEPTION] System halted.\n");
}

_Noreturn void exception_take(struct interrupt_frame *frame) {
    struct bf_exception *record = &bareflow_exception;
    record->count++;
    if (taken) {                        /* while telling of the first one: that record is the one that matters */
        serial_printf("\n[EXCEPTION] again: vector %u, EIP 0x%08x\n", frame->vector, frame->eip);
        boot_stage(BF_STAGE_HALTED);
        cpu_halt();
    }
    taken = true;
    fill(record, frame);
    record->magic = BF_EXCEPTION_MAGIC;
    print(record);
    if (event_exception)
        event_exception(record);
    if (bareflow_hook_exception && bareflow_root.hook_mask & BF_HOOK_EXCEPTION)
        bareflow_hook_exception(record);
    boot_stage(BF_STAGE_HALTED);
    cpu_halt();
}

/* From vectors.asm, on a stack of its own. An interrupt with such a stack cannot be returned from either. */
_Noreturn void exception_with_wild_stack(struct interrupt_frame *frame) {
    wild_stack = true;
    exception_take(frame);
}
