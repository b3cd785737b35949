/* What the kernel adds to the boot record, the stages after KERNEL, and what it takes from it. */
#include "defs.h"

/* The stage last: who sees it finds its event in the ring. */
void boot_stage(uint32_t stage) {
    boot_record->stage_tsc[stage] = rdtsc();
    if (event_boot)
        event_boot(stage);
    __atomic_store_n(&boot_record->stage, stage, __ATOMIC_RELEASE);
}

void model_record_init(void) {
    memset((void *)BF_MODEL_RECORD_ADDRESS, 0, sizeof(struct bf_model_record));
    model_record->magic = BF_MODEL_RECORD_MAGIC;
}

/* First address after RAM. A BIOS that counts beyond 4 GiB must not make it wrap. */
uint32_t ram_end(void) {
    uint32_t kib = boot_record->memory_kib;
    return kib < (0xFFFFFFFF - 0x00100000) / 1024 ? 0x00100000 + kib * 1024 : 0xFFFFFFFF;
}
