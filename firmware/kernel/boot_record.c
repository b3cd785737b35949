/* What the kernel adds to the boot record, the stages after KERNEL, and what it takes from it. */
#include "defs.h"

void boot_stage(uint32_t stage) {
    boot_record->stage_tsc[stage] = rdtsc();
    boot_record->stage = stage;
    if (event_boot)
        event_boot(stage);
}

/* First address after RAM. A BIOS that counts beyond 4 GiB must not make it wrap. */
uint32_t ram_end(void) {
    uint32_t kib = boot_record->memory_kib;
    return kib < (0xFFFFFFFF - 0x00100000) / 1024 ? 0x00100000 + kib * 1024 : 0xFFFFFFFF;
}
