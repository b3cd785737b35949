/* A FAT16 volume, read only (Microsoft FAT specification 1.03): the root directory and the files in it. */
#include "stock.h"

#define SECTOR 512
#define END_OF_CHAIN 0xFFF8
#define ENTRIES_PER_SECTOR (SECTOR / sizeof(fat16_dir_entry_t))
#define LARGEST_FAT 0x8000          /* bytes kept in memory; of a larger one each sector is read when needed */

static bool read_sector(fat16_fs_t *fs, uint32_t sector) {
    return ata_read_sector(fs->drive, sector, fs->sector_buffer);
}

static bool refuse(const char *why) {
    terminal_printf("[FAT16] %s\n", why);
    return false;
}

static void keep_fat(fat16_fs_t *fs) {
    uint32_t sectors = fs->boot_sector.sectors_per_fat;

    if (sectors * SECTOR > LARGEST_FAT || (fs->fat_cache = malloc(sectors * SECTOR)) == NULL)
        return;
    for (uint32_t i = 0; i < sectors; i++)
        if (!ata_read_sector(fs->drive, fs->fat_start + i, (uint8_t *)fs->fat_cache + i * SECTOR))
            return;
    fs->fat_cached = true;
}

bool fat16_init(fat16_fs_t *fs, uint8_t drive) {
    memset(fs, 0, sizeof *fs);
    fs->drive = drive;
    if (!read_sector(fs, 0))
        return refuse("No disk");
    const fat16_boot_sector_t *boot = &fs->boot_sector;
    memcpy(&fs->boot_sector, fs->sector_buffer, sizeof fs->boot_sector);
    if (fs->sector_buffer[510] != 0x55 || fs->sector_buffer[511] != 0xAA)
        return refuse("Invalid boot sector signature");
    if (boot->bytes_per_sector != SECTOR || boot->sectors_per_cluster == 0 || boot->fat_count == 0 ||
        boot->sectors_per_fat == 0 || boot->root_entries == 0)
        return refuse("Not a FAT16 volume");
    fs->total = boot->sectors16 != 0 ? boot->sectors16 : boot->sectors32;
    fs->fat_start = boot->reserved_sectors;
    fs->root_dir_start = fs->fat_start + boot->fat_count * boot->sectors_per_fat;
    fs->root_dir_sectors = (boot->root_entries * sizeof(fat16_dir_entry_t) + SECTOR - 1) / SECTOR;
    fs->data_start = fs->root_dir_start + fs->root_dir_sectors;
    if (fs->data_start >= fs->total)
        return refuse("Not a FAT16 volume");
    keep_fat(fs);
    terminal_printf("[FAT16] Initialized successfully\n");
    return true;
}

bool fat16_root_entry(fat16_fs_t *fs, uint32_t index, fat16_dir_entry_t *entry) {
    if (index >= fs->boot_sector.root_entries ||
        !read_sector(fs, fs->root_dir_start + index / ENTRIES_PER_SECTOR))
        return false;
    *entry = ((const fat16_dir_entry_t *)fs->sector_buffer)[index % ENTRIES_PER_SECTOR];
    return entry->name[0] != 0;
}

/* The cluster after `cluster`; END_OF_CHAIN when the disk does not deliver. */
static uint32_t next_cluster(fat16_fs_t *fs, uint32_t cluster) {
    if (cluster >= fs->boot_sector.sectors_per_fat * (SECTOR / 2u))
        return END_OF_CHAIN;
    if (fs->fat_cached)
        return fs->fat_cache[cluster];
    if (!read_sector(fs, fs->fat_start + cluster / (SECTOR / 2)))
        return END_OF_CHAIN;
    return ((const uint16_t *)fs->sector_buffer)[cluster % (SECTOR / 2)];
}

/* A chain shorter than the file ends the reading; of one that runs in circles the file's size ends it. */
bool fat16_read_file(fat16_fs_t *fs, const fat16_dir_entry_t *entry, uint8_t *buffer) {
    uint32_t cluster = entry->first_cluster;
    uint32_t per_cluster = fs->boot_sector.sectors_per_cluster;
    uint32_t sectors = entry->size / SECTOR + (entry->size % SECTOR != 0);

    for (uint32_t done = 0; done < sectors; done++) {
        uint32_t within = done % per_cluster;
        if (done > 0 && within == 0)
            cluster = next_cluster(fs, cluster);
        uint32_t sector = fs->data_start + (cluster - 2) * per_cluster + within;
        if (cluster < 2 || cluster >= END_OF_CHAIN || sector >= fs->total)
            return false;
        if (!ata_read_sector(fs->drive, sector, buffer + done * SECTOR))
            return false;
    }
    return true;
}
