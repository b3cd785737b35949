/*
 * FAT16 on disk, and the state that stock kernels keep of a mounted volume (fat16_fs_t, 604 bytes).
 * All fields are packed; C code includes this file between `#pragma pack(push, 1)` and `#pragma pack(pop)`.
 */

typedef struct fat16_boot_sector {
    uint8_t jump[3];
    char oem[8];
    uint16_t bytes_per_sector;
    uint8_t sectors_per_cluster;
    uint16_t reserved_sectors;
    uint8_t fat_count;
    uint16_t root_entries;
    uint16_t sectors16;
    uint8_t media;
    uint16_t sectors_per_fat;
    uint16_t sectors_per_track;
    uint16_t heads;
    uint32_t hidden_sectors;
    uint32_t sectors32;
    uint8_t drive_number;
    uint8_t reserved;
    uint8_t boot_signature;
    uint32_t volume_id;
    char volume_label[11];
    char file_system[8];
} fat16_boot_sector_t;

typedef struct fat16_dir_entry {
    char name[8];
    char extension[3];
    uint8_t attributes;
    uint8_t reserved[10];
    uint16_t time;
    uint16_t date;
    uint16_t first_cluster;
    uint32_t size;
} fat16_dir_entry_t;

typedef struct fat16_fs {
    fat16_boot_sector_t boot_sector;
    uint8_t padding0[2];
    uint32_t fat_start;         /* @64 */
    uint32_t root_dir_start;
    uint32_t data_start;
    uint32_t total;
    uint32_t root_dir_sectors;
    uint8_t sector_buffer[512];
    uint32_t fat_cache;         /* @596: uint8_t * */
    uint8_t fat_cached;
    uint8_t drive;
    uint8_t padding1[2];
} fat16_fs_t;
