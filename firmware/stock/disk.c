/* Modules from the FAT16 disk: every .MOD file in the root directory that is not loaded yet. */
#include "stock.h"

#define SECTOR 512
#define LARGEST_MODULE 0x4000
#define DELETED ((char)0xE5)
#define ATTRIBUTE_LABEL_OR_DIRECTORY 0x18

/* Into the DATA pool: modules run where they lie. */
static bool load_file(module_manager_t *manager, fat16_fs_t *fs, const fat16_dir_entry_t *entry) {
    uint32_t room = (entry->size + SECTOR - 1) / SECTOR * SECTOR;

    if (entry->size == 0 || entry->size > LARGEST_MODULE) {
        terminal_printf("[DISK] A module of %u bytes is not loaded\n", entry->size);
        return false;
    }
    uint8_t *image = jit_alloc_data(room);
    if (image == NULL)
        return false;
    if (!fat16_read_file(fs, entry, image))
        terminal_printf("[DISK] Read error\n");
    else if (module_load(manager, (module_header_t *)image, entry->size) >= 0)
        return true;
    jit_free_data(image);
    return false;
}

uint32_t disk_load_all_modules(module_manager_t *manager, fat16_fs_t *fs) {
    uint32_t loaded = 0;
    fat16_dir_entry_t entry;

    for (uint32_t i = 0; fat16_root_entry(fs, i, &entry); i++) {
        if (entry.name[0] == DELETED || entry.attributes & ATTRIBUTE_LABEL_OR_DIRECTORY)
            continue;
        if (memcmp(entry.extension, "MOD", sizeof entry.extension) == 0 && load_file(manager, fs, &entry))
            loaded++;
    }
    return loaded;
}
