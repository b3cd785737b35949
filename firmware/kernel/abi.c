/* The sizes that the ABI headers promise, checked by the compiler that the kernel is built with. */
#include "defs.h"

_Static_assert(sizeof(module_header_t) == 48, "module_header_t");
_Static_assert(sizeof(module_profile_t) == 84, "module_profile_t");
_Static_assert(sizeof(module_manager_t) == 1356, "module_manager_t");
_Static_assert(sizeof(function_profile_t) == 52, "function_profile_t");
_Static_assert(sizeof(function_profiler_t) == 6672, "function_profiler_t");
_Static_assert(sizeof(jit_function_entry_t) == 48, "jit_function_entry_t");
_Static_assert(offsetof(jit_function_entry_t, current_code) == 20, "the published pointer");
_Static_assert(sizeof(adaptive_jit_t) == 8216, "adaptive_jit_t");
_Static_assert(sizeof(bitcode_header_t) == 128, "bitcode_header_t");
_Static_assert(sizeof(block_header_t) == 16, "block_header_t");
_Static_assert(sizeof(memory_pool_t) == 44, "memory_pool_t");
_Static_assert(sizeof(struct bf_image_header) == 32, "bf_image_header");
_Static_assert(sizeof(struct bf_boot_record) == 192, "bf_boot_record");
_Static_assert(BF_BOOT_RECORD_ADDRESS + sizeof(struct bf_boot_record) == BF_MODEL_RECORD_ADDRESS, "one behind the other");
_Static_assert(sizeof(struct bf_event) == 32, "bf_event");
_Static_assert(offsetof(struct bf_ring_header, head) == 64, "what the guest writes has its own cache lines");
_Static_assert(offsetof(struct bf_ring_header, tail) == 128, "what the reader writes has its own cache lines");
_Static_assert(sizeof(struct bf_mail_slot) == 128, "bf_mail_slot");
_Static_assert(sizeof(struct bf_symbol) == 40, "bf_symbol");
_Static_assert(sizeof(struct bf_block) == 16, "bf_block");
_Static_assert(sizeof(struct bf_module_tail) == 32, "bf_module_tail");
_Static_assert(sizeof(struct bf_module_call) == 20, "bf_module_call");
_Static_assert(sizeof(struct bf_module_image) == 64, "bf_module_image");
_Static_assert(offsetof(struct bf_root, thresholds) % 4 == 0, "settable words are aligned");
_Static_assert(BF_STAGING_BASE + BF_MAX_FUNCTIONS * BF_STAGING_SIZE <= BF_WEIGHTS_BASE, "staging areas fit");
_Static_assert(BF_MAX_FUNCTIONS == MAX_JIT_FUNCTIONS && BF_MAX_MODULES == MAX_MODULES, "one limit, two names");
