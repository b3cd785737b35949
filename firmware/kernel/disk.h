/*
 * The second disk: ATA driver, FAT16, files by their 8.3 names, modules from disk, the cache of module images.
 * Read-only. Every failure prints one line that says what is wrong and is returned as a negative enum disk_error.
 * The run calls: disk_run_tests, then (modules are being loaded) the embedded ones, cache_load_modules,
 * disk_load_all_modules; the adaptive JIT gets its tiers from cache_get and tells cache_mark_published.
 */
#pragma once

#include "defs.h"

#pragma pack(push, 1)
#include "fat16.h"
#pragma pack(pop)

enum disk_error {
    DISK_OK = 0,
    DISK_NONE = -1,             /* no disk, or no volume on it */
    DISK_IO = -2,               /* the disk reported an error */
    DISK_TIMEOUT = -3,          /* the disk did not answer in time */
    DISK_BAD_VOLUME = -4,       /* the boot sector is not that of a FAT16 volume */
    DISK_NOT_FOUND = -5,
    DISK_BAD_NAME = -6,         /* not an 8.3 name */
    DISK_BAD_CLUSTER = -7,      /* marked bad, free, or outside the volume */
    DISK_LOOP = -8,             /* the file's cluster chain runs in a circle */
    DISK_TRUNCATED = -9,        /* the chain ends before the file does */
    DISK_TOO_SMALL = -10,       /* the file is larger than the buffer, or the pool */
    DISK_BAD_IMAGE = -11        /* the file is no valid module image, or another module's */
};

/* ata.c: the slave of the primary channel */
#define SECTOR_BYTES 512
uint32_t ata_transfer(void);    /* enum bf_transfer: how large pieces are read */
bool ata_identify(uint32_t *sectors);
int32_t ata_read(uint32_t lba, uint32_t count, void *buffer);

/* fat16.c: the files of the root directory */
struct fat16_file {
    uint32_t size;              /* bytes, as in its directory entry */
    uint32_t position;
    uint32_t cluster;           /* that holds `position` */
    bool open;
    char name[13];              /* 8.3, with its dot */
};
typedef void (*fat16_visitor)(const char *name_8_3, uint32_t size);

extern fat16_fs_t bareflow_fat16;
int32_t fat16_init(uint32_t disk_sectors);
int32_t fat16_open(struct fat16_file *file, const char *name_8_3);
int32_t fat16_read(struct fat16_file *file, void *buffer, uint32_t size);
void fat16_close(struct fat16_file *file);
int32_t fat16_list(fat16_visitor each);

/*
 * disk.c. The disk is looked for, and its volume opened, at the first call of any of these.
 * Sizes and counts in bytes, or a negative enum disk_error.
 */
bool disk_present(void);        /* there is a disk with a FAT16 volume */
int32_t disk_file_size(const char *name_8_3);
int32_t disk_read_file(const char *name_8_3, void *buffer, uint32_t capacity);
uint32_t disk_list(fat16_visitor each);
/* The whole file in a block of the DATA pool, owned as told (BF_OWNER_FILE, BF_OWNER_CACHE); the caller frees it. */
int32_t disk_read_new(const char *name_8_3, uint32_t owner_kind, uint32_t owner, bf_ptr *image);
/* `physics_step` and `O2` give PHYSICS_.O2. */
void disk_name(char name_8_3[13], const char *module, const char *extension);
/* Prints what is on the disk and reads it, except for large files; for the boot log. Nothing without a disk. */
void disk_run_tests(void);

/* disk_modules.c. NAME.MOD replaces the code of a module that is loaded already, and is added otherwise. */
bool disk_load_module(const char *name_8_3);
uint32_t disk_load_all_modules(void);   /* how many; 0 = there are only the embedded ones */

/*
 * cache.c: images of tiers, found by the module's full name and the level. Those built into the kernel come first,
 * then the 16 slots in the DATA pool, which are filled from disk. False = there is none; the reason was printed
 * unless there is no disk. An image is valid until the next cache_get; one that is published stays.
 */
extern struct bf_cache bareflow_cache;
bool cache_get(const char *name, uint32_t level, const uint8_t **image, uint32_t *size);
/* Of these two the adaptive JIT tells the cache, where the image has one. Its code was executed: */
__attribute__((weak)) void cache_mark_used(const char *name, uint32_t level);
/* … and is published, and no other level of this module is any more: */
__attribute__((weak)) void cache_mark_published(const char *name, uint32_t level);

/* cache_embedded.c: the images built into the kernel, by `make CACHE=DIR` (bareflow_gdb.build.registry). */
typedef void (*cache_visitor)(const char *name, uint32_t level, const uint8_t *image, uint32_t size);
__attribute__((weak)) void cache_registry_foreach(cache_visitor each);
bool cache_embedded_find(const char *name, uint32_t level, const uint8_t **image, uint32_t *size);
uint32_t cache_load_modules(void);      /* how many embedded modules were replaced, and others added */
