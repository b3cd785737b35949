/* What every root descriptor says in the same way; each root.c adds where the tables of its own kernel are. */
#pragma once

/* Here it names a field. */
#undef boot_record

/* Size 0: not known here; the ELF has it. */
#define EXPORT(symbol) {.name = #symbol, .address = (bf_ptr)symbol}

/*
 * Link-time constants. What only the finished image knows (its size, the build id, the checksum) is filled in by
 * bareflow_gdb.build.finish_image.
 */
#define ROOT_COMMON(which) \
    .magic = {BF_ROOT_MAGIC0, BF_ROOT_MAGIC1, BF_ROOT_MAGIC2, BF_ROOT_MAGIC3}, \
    .abi_major = BF_ABI_MAJOR, \
    .abi_minor = BF_ABI_MINOR, \
    .size = sizeof(struct bf_root), \
    .checked_size = offsetof(struct bf_root, thresholds), \
    .variant = (which), \
    .cpu_count = 1, \
    .boot_record = BF_BOOT_RECORD_ADDRESS, \
    .rings = {BF_RING0_HEADER, BF_RING1_HEADER}, \
    .exception = (bf_ptr)&bareflow_exception, \
    .log_buffer = (bf_ptr)&bareflow_log, \
    .exports = (bf_ptr)exports, \
    .export_count = sizeof exports / sizeof exports[0], \
    .status = (bf_ptr)&bareflow_status, \
    .thresholds = {100, 1000, 10000}
