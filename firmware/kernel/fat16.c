/*
 * A FAT16 volume, read-only: Microsoft FAT specification 1.03, chapters 3 (boot sector), 4 (FAT) and 6 (directory).
 * The root directory only: module disks have no others. Nothing on the disk is believed before it was checked.
 */
#include "disk.h"

#define ENTRY_BYTES 32
#define ENTRY_END 0x00
#define ENTRY_DELETED 0xE5
#define ATTRIBUTE_VOLUME 0x08           /* also set in the four bits that mark a part of a long name */
#define ATTRIBUTE_DIRECTORY 0x10

#define CLUSTER_FIRST 2
#define CLUSTER_BAD 0xFFF7
#define CLUSTER_END 0xFFF8              /* and above: the last one of a chain */
#define FAT12_CLUSTERS 4085             /* fewer: the volume is FAT12 */
#define FAT16_CLUSTERS 65525            /* this many: FAT32 */
#define SIGNATURE_OFFSET 510
#define SIGNATURE 0xAA55

_Static_assert(sizeof(fat16_fs_t) == 604, "fat16_fs_t");
_Static_assert(sizeof(fat16_boot_sector_t) == 62, "fat16_boot_sector_t");
_Static_assert(sizeof(fat16_dir_entry_t) == ENTRY_BYTES, "fat16_dir_entry_t");

fat16_fs_t bareflow_fat16;

#define fs bareflow_fat16

/* What the sector buffer holds, so that a sector is read once. */
static uint32_t buffered = UINT32_MAX;

static int32_t read_buffered(uint32_t lba) {
    if (lba == buffered)
        return DISK_OK;
    buffered = UINT32_MAX;
    int32_t result = ata_read(lba, 1, fs.sector_buffer);
    if (result == DISK_OK)
        buffered = lba;
    return result;
}

static uint32_t cluster_count(void) {
    return (fs.total - fs.data_start) / fs.boot_sector.sectors_per_cluster;
}

/* NULL when the boot sector is that of a FAT16 volume. */
static const char *check_boot_sector(const fat16_boot_sector_t *boot, uint16_t signature) {
    uint32_t total = boot->sectors16 != 0 ? boot->sectors16 : boot->sectors32;
    uint32_t root_sectors = (boot->root_entries * ENTRY_BYTES + SECTOR_BYTES - 1) / SECTOR_BYTES;
    uint32_t before = boot->reserved_sectors + boot->fat_count * boot->sectors_per_fat + root_sectors;

    if (signature != SIGNATURE)
        return "no boot sector signature (0xAA55)";
    if (boot->bytes_per_sector != SECTOR_BYTES)
        return "a sector is not 512 bytes";
    if (boot->sectors_per_cluster == 0 || (boot->sectors_per_cluster & (boot->sectors_per_cluster - 1)) != 0)
        return "sectors per cluster is not a power of two";
    if (boot->reserved_sectors == 0 || boot->fat_count == 0 || boot->sectors_per_fat == 0)
        return "it has no FAT";
    if (boot->root_entries == 0)
        return "it has no root directory";
    if (total <= before)
        return "it is smaller than its own tables";
    uint32_t clusters = (total - before) / boot->sectors_per_cluster;
    if (clusters < FAT12_CLUSTERS || clusters >= FAT16_CLUSTERS)
        return "its number of clusters is not that of FAT16";
    if ((uint32_t)boot->sectors_per_fat * SECTOR_BYTES < (clusters + CLUSTER_FIRST) * 2)
        return "its FAT is too small for its clusters";
    return NULL;
}

int32_t fat16_init(uint32_t disk_sectors) {
    const fat16_boot_sector_t *boot = &fs.boot_sector;

    memset(&fs, 0, sizeof fs);
    fs.drive = 1;
    int32_t result = read_buffered(0);
    if (result != DISK_OK) {
        kprintf("[FAT16] The boot sector cannot be read\n");
        return result;
    }
    memcpy(&fs.boot_sector, fs.sector_buffer, sizeof fs.boot_sector);
    uint16_t signature;
    memcpy(&signature, fs.sector_buffer + SIGNATURE_OFFSET, sizeof signature);
    const char *wrong = check_boot_sector(boot, signature);
    if (wrong != NULL) {
        kprintf("[FAT16] Not a FAT16 volume: %s\n", wrong);
        return DISK_BAD_VOLUME;
    }
    fs.total = boot->sectors16 != 0 ? boot->sectors16 : boot->sectors32;
    fs.fat_start = boot->reserved_sectors;
    fs.root_dir_start = fs.fat_start + boot->fat_count * boot->sectors_per_fat;
    fs.root_dir_sectors = (boot->root_entries * ENTRY_BYTES + SECTOR_BYTES - 1) / SECTOR_BYTES;
    fs.data_start = fs.root_dir_start + fs.root_dir_sectors;
    if (fs.total > disk_sectors)
        kprintf("[FAT16] The volume has %u sectors, the disk only %u: what lies beyond cannot be read\n", fs.total,
                disk_sectors);

    /* The FAT is looked at for every cluster of every file, so all of it is kept; at most 128 KB. */
    uint8_t *fat = malloc(boot->sectors_per_fat * SECTOR_BYTES);
    if (fat == NULL) {
        kprintf("[FAT16] No memory for the FAT of %u sectors\n", boot->sectors_per_fat);
        return DISK_TOO_SMALL;
    }
    result = ata_read(fs.fat_start, boot->sectors_per_fat, fat);
    if (result != DISK_OK) {
        kprintf("[FAT16] The FAT cannot be read\n");
        return result;
    }
    fs.fat_cache = (uint32_t)fat;
    fs.fat_cached = 1;
    kprintf("[FAT16] Initialized successfully\n");
    return DISK_OK;
}

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* What a name may hold besides the dot (chapter 6.1); lower case is taken for upper case. */
static bool allowed(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '~' || c == '$';
}

/* `TEST.TXT` to `TEST    TXT`. False when it is no 8.3 name. */
static bool to_entry_name(const char *name, char entry[11]) {
    uint32_t at = 0;

    memset(entry, ' ', 11);
    for (; *name != 0 && *name != '.'; name++, at++) {
        if (at == 8 || !allowed(upper(*name)))
            return false;
        entry[at] = upper(*name);
    }
    if (at == 0)
        return false;
    if (*name == 0)
        return true;
    for (name++, at = 8; *name != 0; name++, at++) {
        if (at == 11 || !allowed(upper(*name)))
            return false;
        entry[at] = upper(*name);
    }
    return at > 8;
}

/* The other way; what must not reach a terminal becomes a question mark. */
static uint32_t append(char *name, uint32_t length, const char *field, uint32_t width) {
    while (width > 0 && field[width - 1] == ' ')
        width--;
    for (uint32_t i = 0; i < width; i++)
        name[length++] = field[i] > ' ' && field[i] < 0x7F ? field[i] : '?';
    return length;
}

static void to_name(const fat16_dir_entry_t *entry, char name[13]) {
    uint32_t base = append(name, 0, entry->name, sizeof entry->name);
    uint32_t end = append(name, base + 1, entry->extension, sizeof entry->extension);

    name[base] = '.';
    name[end == base + 1 ? base : end] = 0;
}

/* The next file of the root directory from entry `*index` on: 1 = found, 0 = the end, else what went wrong. */
static int32_t next_file(uint32_t *index, fat16_dir_entry_t *entry) {
    while (*index < fs.boot_sector.root_entries) {
        uint32_t offset = *index * ENTRY_BYTES;
        int32_t result = read_buffered(fs.root_dir_start + offset / SECTOR_BYTES);
        if (result != DISK_OK) {
            kprintf("[FAT16] The root directory cannot be read\n");
            return result;
        }
        memcpy(entry, fs.sector_buffer + offset % SECTOR_BYTES, sizeof *entry);
        (*index)++;
        if ((uint8_t)entry->name[0] == ENTRY_END)
            return 0;
        if ((uint8_t)entry->name[0] != ENTRY_DELETED &&
            (entry->attributes & (ATTRIBUTE_VOLUME | ATTRIBUTE_DIRECTORY)) == 0)
            return 1;
    }
    return 0;
}

static uint32_t fat_entry(uint32_t cluster) {
    return ((const uint16_t *)fs.fat_cache)[cluster];
}

static int32_t bad_cluster(const char *name, uint32_t cluster, const char *why) {
    kprintf("[FAT16] %s: bad cluster 0x%04x: %s\n", name, cluster, why);
    return DISK_BAD_CLUSTER;
}

/* Follows the whole chain once, so that reading need not check: a chain without a loop ends within all clusters. */
static int32_t check_chain(const char *name, uint32_t cluster, uint32_t size) {
    uint32_t bytes = fs.boot_sector.sectors_per_cluster * SECTOR_BYTES;
    uint32_t needed = (size + bytes - 1) / bytes;
    uint32_t count = cluster_count();
    uint32_t length = 0;

    while (cluster < CLUSTER_END) {
        if (cluster == CLUSTER_BAD)
            return bad_cluster(name, cluster, "marked unusable");
        if (cluster < CLUSTER_FIRST)
            return bad_cluster(name, cluster, "it is free");
        if (cluster >= count + CLUSTER_FIRST)
            return bad_cluster(name, cluster, "outside the volume");
        if (++length > count) {
            kprintf("[FAT16] %s: its cluster chain runs in a loop\n", name);
            return DISK_LOOP;
        }
        cluster = fat_entry(cluster);
    }
    if (length < needed) {
        kprintf("[FAT16] %s: truncated, %u of %u bytes are there\n", name, length * bytes, size);
        return DISK_TRUNCATED;
    }
    return DISK_OK;
}

static int32_t open_entry(struct fat16_file *file, const fat16_dir_entry_t *entry) {
    to_name(entry, file->name);
    if (entry->size > INT32_MAX) {
        kprintf("[FAT16] %s: a size of %u bytes cannot be right\n", file->name, entry->size);
        return DISK_TOO_SMALL;
    }
    if (entry->size != 0) {
        int32_t result = check_chain(file->name, entry->first_cluster, entry->size);
        if (result != DISK_OK)
            return result;
    }
    file->size = entry->size;
    file->position = 0;
    file->cluster = entry->first_cluster;
    file->open = true;
    return DISK_OK;
}

int32_t fat16_open(struct fat16_file *file, const char *name) {
    fat16_dir_entry_t entry;
    char wanted[11];
    uint32_t index = 0;
    int32_t result;

    *file = (struct fat16_file){0};
    if (!to_entry_name(name, wanted)) {
        kprintf("[FAT16] %s: not an 8.3 file name\n", name);
        return DISK_BAD_NAME;
    }
    while ((result = next_file(&index, &entry)) > 0)
        if (memcmp(entry.name, wanted, sizeof wanted) == 0)
            return open_entry(file, &entry);
    if (result < 0)
        return result;
    kprintf("[FAT16] %s: no such file\n", name);
    return DISK_NOT_FOUND;
}

/* Bytes from the position to the end of the run of clusters that lie one behind the other; at least `size` if there. */
static uint32_t bytes_in_run(const struct fat16_file *file, uint32_t cluster_bytes, uint32_t size) {
    uint32_t bytes = cluster_bytes - file->position % cluster_bytes;

    for (uint32_t at = file->cluster; bytes < size && fat_entry(at) == at + 1; at++)
        bytes += cluster_bytes;
    return bytes;
}

/* As many bytes as one read can give: whole sectors of a run of clusters, else a part of one sector. */
static int32_t read_step(struct fat16_file *file, uint8_t *to, uint32_t size) {
    uint32_t cluster_bytes = fs.boot_sector.sectors_per_cluster * SECTOR_BYTES;
    uint32_t offset = file->position % cluster_bytes;
    uint32_t skip = offset % SECTOR_BYTES;
    uint32_t lba = fs.data_start + (file->cluster - CLUSTER_FIRST) * fs.boot_sector.sectors_per_cluster +
                   offset / SECTOR_BYTES;
    uint32_t run = bytes_in_run(file, cluster_bytes, size);
    uint32_t bytes = size < run ? size : run;
    int32_t result;

    if (skip == 0 && bytes >= SECTOR_BYTES) {
        bytes -= bytes % SECTOR_BYTES;
        result = ata_read(lba, bytes / SECTOR_BYTES, to);
    } else {
        bytes = bytes < SECTOR_BYTES - skip ? bytes : SECTOR_BYTES - skip;
        result = read_buffered(lba);
        if (result == DISK_OK)
            memcpy(to, fs.sector_buffer + skip, bytes);
    }
    if (result != DISK_OK)
        return result;
    file->position += bytes;
    for (uint32_t passed = (offset + bytes) / cluster_bytes; passed > 0; passed--)
        file->cluster = fat_entry(file->cluster);
    return (int32_t)bytes;
}

/* Bytes read, fewer than `size` only at the end of the file. */
int32_t fat16_read(struct fat16_file *file, void *buffer, uint32_t size) {
    uint32_t done = 0;

    if (!file->open)
        return DISK_NOT_FOUND;
    if (size > file->size - file->position)
        size = file->size - file->position;
    while (done < size) {
        int32_t result = read_step(file, (uint8_t *)buffer + done, size - done);
        if (result < 0) {
            kprintf("[FAT16] %s: cannot be read from byte %u on\n", file->name, file->position);
            return result;
        }
        done += (uint32_t)result;
    }
    return (int32_t)done;
}

void fat16_close(struct fat16_file *file) {
    file->open = false;
}

/* How many files there are; `each` may open and read them. */
int32_t fat16_list(fat16_visitor each) {
    fat16_dir_entry_t entry;
    char name[13];
    uint32_t index = 0;
    int32_t count = 0;
    int32_t result;

    while ((result = next_file(&index, &entry)) > 0) {
        to_name(&entry, name);
        each(name, entry.size);
        count++;
    }
    return result < 0 ? result : count;
}
