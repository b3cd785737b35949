/*
 * What every file of the stock kernels includes. The log's destinations are part of the imitation: the adaptive
 * JIT and the JSON print with serial_printf (COM1), everything else with terminal_printf (VGA).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bareflow.h"

#include "layouts.h"

#include "core.h"

typedef int32_t (*jit_code_t)(int32_t a, int32_t b);

/* keyboard.c: with INTERACTIVE=1 says on VGA what comes next and waits for a key; otherwise nothing */
void wait_for_key(const char *before);

/* pools.c. Inside `heap`: CODE at its start, then DATA, then METADATA. Sizes in bytes, rounded up to 8. */
#define CODE_POOL_SIZE 0x8000
#define DATA_POOL_SIZE 0x8000
#define METADATA_POOL_SIZE 0x4000
extern memory_pool_t g_pools[3];
void jit_allocator_init(void);
void *jit_alloc_code(uint32_t size);
void *jit_alloc_data(uint32_t size);
void *jit_alloc_metadata(uint32_t size);
void jit_free_code(void *pointer);
void jit_free_data(void *pointer);
void jit_free_metadata(void *pointer);

/* images.S: module images with header version 1, and where each begins and ends */
typedef struct module_image {
    module_header_t *header;
    uint32_t size;
} module_image_t;
extern const module_image_t embedded_modules[];
extern const uint32_t embedded_module_count;

/* module.c. Modules run where their image lies; `size` is that of header and code together. */
void module_init(module_manager_t *manager);
int module_load(module_manager_t *manager, module_header_t *header, uint32_t size);
int module_find(const module_manager_t *manager, const char *name);
int32_t module_execute(module_manager_t *manager, int module, int32_t a, int32_t b);
bool module_install_override(module_manager_t *manager, const char *name, module_header_t *header, uint32_t size);
void module_print_stats(const module_manager_t *manager);
void module_export_profile(const module_manager_t *manager);

/* cache.c. The registry is weak: a kernel without a cache links. */
void cache_load_modules(module_manager_t *manager);

/* bitcode.c */
void bitcode_list(void);

/* ata.c: `drive` is 0 for the master, 1 for the slave of the primary channel */
bool ata_read_sector(uint8_t drive, uint32_t lba, void *buffer);

/* fat16.c */
bool fat16_init(fat16_fs_t *fs, uint8_t drive);
/* Entry `index` of the root directory; false behind the last. Deleted entries and labels have name[0] = 0xE5. */
bool fat16_root_entry(fat16_fs_t *fs, uint32_t index, fat16_dir_entry_t *entry);
/* True when all of the file is in `buffer`, which has room for whole sectors. */
bool fat16_read_file(fat16_fs_t *fs, const fat16_dir_entry_t *entry, uint8_t *buffer);

/* disk.c: how many modules were loaded */
uint32_t disk_load_all_modules(module_manager_t *manager, fat16_fs_t *fs);

/* profiler.c: the id, or -1 */
int profiler_register(function_profiler_t *profiler, const char *name, const char *module_name, void *address);
void profiler_record_call(function_profiler_t *profiler, uint32_t id, uint64_t cycles);

/* adaptive_jit.c: ids are -1 when there is no room */
void adaptive_jit_init(adaptive_jit_t *jit);
int adaptive_jit_register_function(adaptive_jit_t *jit, const char *name, const char *module_name, void *code);
int32_t adaptive_jit_execute(adaptive_jit_t *jit, int function, int32_t a, int32_t b);

/* field/: what generations in the field do otherwise; each is in the variants of variants.mk only */
void jit_allocator_shutdown(void);
void adaptive_jit_destroy(adaptive_jit_t *jit);
void field_load_modules(module_manager_t *manager);
