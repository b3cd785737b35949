/*
 * The root descriptor and the export table: link-time constants. What only the finished image knows (its size, the
 * build id, the checksum) is filled in by bareflow_gdb.build.finish_image.
 */
#include "defs.h"
#include "disk.h"

/* Here it names a field. */
#undef boot_record

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);
int64_t __divdi3(int64_t dividend, int64_t divisor);
int64_t __moddi3(int64_t dividend, int64_t divisor);

struct bf_status bareflow_status;

/* The label of the publishing store, in adaptive_jit_swap_code. */
extern const char bareflow_publish_store[];

/* What host-compiled code may call, and where a debugger stops. Size 0: not known here; the ELF has it. */
#define EXPORT(symbol) {.name = #symbol, .address = (bf_ptr)symbol}
static const struct bf_symbol exports[] = {
    EXPORT(memcpy), EXPORT(memmove), EXPORT(memset), EXPORT(memcmp), EXPORT(strlen), EXPORT(strcmp),
    EXPORT(__udivdi3), EXPORT(__umoddi3), EXPORT(__divdi3), EXPORT(__moddi3), EXPORT(kprintf),
    EXPORT(adaptive_jit_call), EXPORT(module_execute), EXPORT(adaptive_jit_swap_code), EXPORT(bareflow_publish_store),
    EXPORT(bareflow_hook_swap), EXPORT(bareflow_hook_exception), EXPORT(bareflow_hook_pool_fail),
    EXPORT(bareflow_hook_register), EXPORT(bareflow_hook_module_load), EXPORT(bareflow_hook_reject),
};

struct bf_root bareflow_root __attribute__((aligned(16))) = {
    .magic = {BF_ROOT_MAGIC0, BF_ROOT_MAGIC1, BF_ROOT_MAGIC2, BF_ROOT_MAGIC3},
    .abi_major = BF_ABI_MAJOR,
    .abi_minor = BF_ABI_MINOR,
    .size = sizeof(struct bf_root),
    .checked_size = offsetof(struct bf_root, thresholds),
    .variant = BF_VARIANT_KERNEL,
    .cpu_count = 1,
    .boot_record = BF_BOOT_RECORD_ADDRESS,
    .module_manager = (bf_ptr)&module_manager,
    .function_profiler = (bf_ptr)&adaptive_jit.profiler,
    .adaptive_jit = (bf_ptr)&adaptive_jit,
    .function_table = (bf_ptr)function_table,
    .version_table = (bf_ptr)version_table,
    .pools = (bf_ptr)g_pools,
    .block_table = BLOCK_TABLE_ADDRESS,
    .rings = {BF_RING0_HEADER, BF_RING1_HEADER},
    .mailbox = BF_MAILBOX_HEADER,
    .exception = (bf_ptr)&bareflow_exception,
    .fat16 = (bf_ptr)&bareflow_fat16,
    .cache = (bf_ptr)&bareflow_cache,
    .log_buffer = (bf_ptr)&bareflow_log,
    .exports = (bf_ptr)exports,
    .export_count = sizeof exports / sizeof exports[0],
    .status = (bf_ptr)&bareflow_status,
    .module_images = (bf_ptr)module_images,
    .version_causes = (bf_ptr)version_causes,
    .thresholds = {100, 1000, 10000},
};
