/* The kernel's root descriptor and export table. */
#include "defs.h"
#include "disk.h"
#include "root.h"

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);
int64_t __divdi3(int64_t dividend, int64_t divisor);
int64_t __moddi3(int64_t dividend, int64_t divisor);

struct bf_status bareflow_status;

/* The label of the publishing store, in adaptive_jit_swap_code. */
extern const char bareflow_publish_store[];

/* What host-compiled code may call, and where a debugger stops. */
static const struct bf_symbol exports[] = {
    EXPORT(memcpy), EXPORT(memmove), EXPORT(memset), EXPORT(memcmp), EXPORT(strlen), EXPORT(strcmp),
    EXPORT(__udivdi3), EXPORT(__umoddi3), EXPORT(__divdi3), EXPORT(__moddi3), EXPORT(kprintf),
    EXPORT(adaptive_jit_call), EXPORT(module_execute), EXPORT(adaptive_jit_swap_code), EXPORT(bareflow_publish_store),
    EXPORT(bareflow_hook_swap), EXPORT(bareflow_hook_exception), EXPORT(bareflow_hook_pool_fail),
    EXPORT(bareflow_hook_register), EXPORT(bareflow_hook_module_load), EXPORT(bareflow_hook_reject),
    EXPORT(bareflow_hook_phase),
};

struct bf_root bareflow_root __attribute__((aligned(16))) = {
    ROOT_COMMON(BF_VARIANT_KERNEL),
    .module_manager = (bf_ptr)&module_manager,
    .function_profiler = (bf_ptr)&adaptive_jit.profiler,
    .adaptive_jit = (bf_ptr)&adaptive_jit,
    .function_table = (bf_ptr)function_table,
    .version_table = (bf_ptr)version_table,
    .pools = (bf_ptr)g_pools,
    .block_table = BLOCK_TABLE_ADDRESS,
    .mailbox = BF_MAILBOX_HEADER,
    .fat16 = (bf_ptr)&bareflow_fat16,
    .cache = (bf_ptr)&bareflow_cache,
    .module_images = (bf_ptr)module_images,
    .version_causes = (bf_ptr)version_causes,
};
