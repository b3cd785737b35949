/* Where the C code begins: the core comes up, then the rest of the kernel takes over. */
#include "defs.h"

_Noreturn void kernel_main(void);

_Noreturn void kernel_main(void) {
    serial_init();
    serial_writestring("[serial] init ok\n");
    terminal_initialize();
    idt_init();
    pic_init();
    model_record_init();
    cpu_init_x87();
    bareflow_status.cpu_features = cpu_enable_vectors();
    bareflow_exception.magic = BF_EXCEPTION_MAGIC;
    bareflow_status.tsc_hz = timer_measure_tsc_hz();
    timer_init();
    keyboard_init();

    struct cpu_features cpu;
    cpu_identify(&cpu);
    kprintf("[boot] %s %s, %u sectors at 0x%08x, %u KiB above 1 MiB\n",
            boot_record->disk_method == BF_DISK_LBA ? "LBA" : "CHS", "boot", boot_record->sectors_read,
            boot_record->load_address, boot_record->memory_kib);
    kprintf("[cpu] %s family %u model %u stepping %u, TSC %u kHz\n", cpu.vendor, cpu.family, cpu.model,
            cpu.stepping, (uint32_t)(bareflow_status.tsc_hz / 1000));
    boot_stage(BF_STAGE_CORE);
    interrupts_on();
    keyboard_pause("modules and the adaptive JIT");
    bareflow_run();
}
