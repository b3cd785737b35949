/* The kernel's part of the boot record: the stages after KERNEL, which start.asm writes. */
#include "defs.h"

void boot_stage(uint32_t stage) {
    boot_record->stage_tsc[stage] = rdtsc();
    boot_record->stage = stage;
    if (event_boot)
        event_boot(stage);
}
