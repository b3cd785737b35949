/* Files of the second disk by their names, and the test of the disk that the boot log shows. */
#include "disk.h"

#define PREVIEW_BYTES 256               /* of a text file, in the log */
#define CHUNK_BYTES 8192
#define LARGEST_TO_READ (4u << 20)      /* for the boot log */

static bool looked;
static bool present;

bool disk_present(void) {
    uint32_t sectors;

    if (!looked) {
        looked = true;
        present = ata_identify(&sectors) && fat16_init(sectors) == DISK_OK;
    }
    return present;
}

int32_t disk_file_size(const char *name) {
    struct fat16_file file;

    if (!disk_present())
        return DISK_NONE;
    int32_t result = fat16_open(&file, name);
    if (result != DISK_OK)
        return result;
    fat16_close(&file);
    return (int32_t)file.size;
}

/* All of an open file, which is closed. */
static int32_t read_whole(struct fat16_file *file, void *buffer) {
    int32_t result = fat16_read(file, buffer, file->size);
    fat16_close(file);
    return result;
}

int32_t disk_read_file(const char *name, void *buffer, uint32_t capacity) {
    struct fat16_file file;

    if (!disk_present())
        return DISK_NONE;
    int32_t result = fat16_open(&file, name);
    if (result != DISK_OK)
        return result;
    if (file.size > capacity) {
        kprintf("[DISK] %s: %u bytes do not fit into %u\n", file.name, file.size, capacity);
        fat16_close(&file);
        return DISK_TOO_SMALL;
    }
    return read_whole(&file, buffer);
}

int32_t disk_read_new(const char *name, uint32_t owner_kind, uint32_t owner, bf_ptr *content) {
    struct fat16_file file;

    if (!disk_present())
        return DISK_NONE;
    int32_t result = fat16_open(&file, name);
    if (result != DISK_OK)
        return result;
    *content = pool_alloc(BF_POOL_DATA, file.size, owner_kind, owner);
    if (*content == 0) {
        kprintf("[DISK] %s: no memory for its %u bytes\n", file.name, file.size);
        fat16_close(&file);
        return DISK_TOO_SMALL;
    }
    result = read_whole(&file, (void *)*content);
    if (result < 0)
        pool_free(BF_POOL_DATA, *content);
    return result;
}

uint32_t disk_list(fat16_visitor each) {
    if (!disk_present())
        return 0;
    int32_t count = fat16_list(each);
    return count < 0 ? 0 : (uint32_t)count;
}

void disk_name(char name[13], const char *module, const char *extension) {
    uint32_t length = 0;

    for (; length < 8 && module[length] != 0; length++)
        name[length] = module[length] >= 'a' && module[length] <= 'z' ? (char)(module[length] - 'a' + 'A')
                                                                       : module[length];
    ksnprintf(name + length, 13 - length, ".%s", extension);
}

/* One line per file: its name, its size, and the CRC-32 of what was read. */
static void read_and_tell(const char *name, uint32_t size) {
    static uint8_t chunk[CHUNK_BYTES];
    struct fat16_file file;
    uint32_t crc = 0;
    int32_t result;

    /* What no file can be is told when it is opened. */
    if (size > LARGEST_TO_READ && size <= INT32_MAX) {
        kprintf("  %-12s %7u bytes, not read here\n", name, size);
        return;
    }
    result = fat16_open(&file, name);
    if (result != DISK_OK)
        return;
    while ((result = fat16_read(&file, chunk, sizeof chunk)) > 0)
        crc = crc32_more(crc, chunk, (uint32_t)result);
    fat16_close(&file);
    if (result == 0)
        kprintf("  %-12s %7u bytes, CRC-32 0x%08x\n", name, size, crc);
}

static void show_text(const char *name) {
    char text[PREVIEW_BYTES + 1];
    struct fat16_file file;

    if (fat16_open(&file, name) != DISK_OK)
        return;
    int32_t bytes = fat16_read(&file, text, PREVIEW_BYTES);
    fat16_close(&file);
    if (bytes < 0)
        return;
    text[bytes] = 0;
    for (int32_t i = 0; i < bytes; i++)
        if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
            text[i] = '?';
    kprintf("%s%s", text, bytes > 0 && text[bytes - 1] == '\n' ? "" : "\n");
    kprintf("[FAT16-TEST] %s: %u bytes\n", name, file.size);
}

void disk_run_tests(void) {
    struct fat16_file missing;

    if (!disk_present())
        return;
    keyboard_pause("FAT16 test 1, the list of files");
    kprintf("[FAT16-TEST] %u files\n", disk_list(read_and_tell));
    keyboard_pause("FAT16 test 2, TEST.TXT");
    show_text("TEST.TXT");
    keyboard_pause("FAT16 test 3, README.TXT");
    show_text("README.TXT");
    keyboard_pause("FAT16 test 4, a missing file");
    bool found = fat16_open(&missing, "MISSING.TXT") != DISK_NOT_FOUND;
    kprintf("[FAT16-TEST] A missing file is %s\n", found ? "not noticed  [FAIL]" : "reported  [OK]");
}
