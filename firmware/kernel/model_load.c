/* The packed language model of the second disk: read to where it is used, and checked. Nothing in it is believed before. */
#include "model_load.h"

#include "disk.h"

#define PIECE_BYTES (1u << 20)
#define QUARTERS_FROM (8u << 20)        /* a smaller one is there before its progress could be read */

#define header ((const struct bf_model_header *)BF_WEIGHTS_BASE)
#define part_table ((const struct bf_model_part *)(BF_WEIGHTS_BASE + sizeof(struct bf_model_header)))

static char found[13];
static uint32_t found_bytes;

static bool model_is_named(const char *name) {
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".BFM") == 0;
}

static void find(const char *name, uint32_t size) {
    if (found[0] != 0 || !model_is_named(name))
        return;
    memcpy(found, name, sizeof found);
    found_bytes = size;
}

const char *model_reason(void) {
    static const char *const reasons[] = {
        [BF_MODEL_STATE_NONE] = "there is no second disk",
        [BF_MODEL_STATE_NO_FILE] = "the disk has no model (NAME.BFM)",
        [BF_MODEL_STATE_NO_RAM] = "there is too little RAM for it",
        [BF_MODEL_STATE_LOADING] = "it is being loaded",
        [BF_MODEL_STATE_DISK_ERROR] = "the disk could not be read",
        [BF_MODEL_STATE_DAMAGED] = "it is damaged",
        [BF_MODEL_STATE_LOADED] = "it is loaded",
    };
    return reasons[model_record->state];
}

static const struct bf_model_header *end(uint32_t state) {
    model_record->state = state;
    if (state == BF_MODEL_STATE_NO_FILE)
        kprintf("[MODEL] None: %s\n", model_reason());
    else if (state != BF_MODEL_STATE_LOADED)
        kprintf("[MODEL] %s is not used: %s\n", found, model_reason());
    return state == BF_MODEL_STATE_LOADED ? header : NULL;
}

static bool has_room(uint32_t bytes) {
    uint32_t ram = ram_end();

    if (ram > BF_WEIGHTS_BASE && bytes <= ram - BF_WEIGHTS_BASE)
        return true;
    kprintf("[MODEL] %s needs %u MiB of RAM, the machine has %u: give it more (run --memory, or QEMU's -m)\n", found,
            (uint32_t)(((uint64_t)BF_WEIGHTS_BASE + bytes + PIECE_BYTES - 1) / PIECE_BYTES), ram / PIECE_BYTES);
    return false;
}

static bool read(struct fat16_file *file) {
    uint32_t told = 0;

    for (uint32_t done = 0; done < file->size;) {
        int32_t bytes = fat16_read(file, (void *)(BF_WEIGHTS_BASE + done), PIECE_BYTES);
        if (bytes <= 0)
            return false;
        done += (uint32_t)bytes;
        model_record->loaded = done;
        uint32_t quarter = (uint32_t)((uint64_t)done * 4 / file->size);
        if (quarter > told && quarter < 4 && file->size >= QUARTERS_FROM)
            kprintf("[MODEL] %s: %u%% of %u bytes\n", found, quarter * 25, file->size);
        told = quarter;
    }
    return true;
}

static bool damaged(const char *why) {
    kprintf("[MODEL] %s: %s\n", found, why);
    return false;
}

/* The CRC of header and part records, in which its own word is 0. */
static uint32_t head_crc(uint32_t bytes) {
    uint32_t at = offsetof(struct bf_model_header, crc);
    uint32_t none = 0;
    uint32_t crc = crc32_more(crc32(header, at), &none, sizeof none);

    at += sizeof none;
    return crc32_more(crc, (const uint8_t *)header + at, bytes - at);
}

static bool check_head(uint32_t size) {
    if (size < sizeof *header || header->magic != BF_MODEL_MAGIC)
        return damaged("it does not begin as a packed model does");
    if (header->version != BF_MODEL_VERSION)
        return damaged("it is of another version; pack the model again");
    if (header->file_bytes != size)
        return damaged("it has not the size that it says");
    if (header->parts > BF_MODEL_MOST_PARTS || sizeof *header + header->parts * sizeof *part_table > size)
        return damaged("its list of parts does not end in it");
    if (head_crc(sizeof *header + header->parts * sizeof *part_table) != header->crc)
        return damaged("its header has another CRC");
    return true;
}

static bool check_part(const struct bf_model_part *part, uint32_t size) {
    char name[sizeof part->name + 1] = {0};

    if (part->offset > size || part->bytes > size - part->offset)
        return damaged("a part lies outside of it");
    uint32_t crc = crc32((const void *)(BF_WEIGHTS_BASE + part->offset), part->bytes);
    if (crc == part->crc)
        return true;
    for (uint32_t i = 0; i < sizeof part->name && part->name[i] != 0; i++)
        name[i] = part->name[i] > ' ' && part->name[i] <= '~' ? part->name[i] : '?';
    kprintf("[MODEL] %s: part %s has CRC 0x%08x and says 0x%08x\n", found, name, crc, part->crc);
    return false;
}

static bool is_whole(uint32_t size) {
    if (!check_head(size))
        return false;
    for (uint32_t i = 0; i < header->parts; i++)
        if (!check_part(&part_table[i], size))
            return false;
    return true;
}

const struct bf_model_header *model_load(void) {
    struct fat16_file file;
    uint64_t begun = rdtsc();

    if (!disk_present())
        return NULL;
    found[0] = 0;
    disk_list(find);
    if (found[0] == 0)
        return end(BF_MODEL_STATE_NO_FILE);
    model_record->bytes = found_bytes;
    model_record->transfer = ata_transfer();
    if (!has_room(found_bytes))
        return end(BF_MODEL_STATE_NO_RAM);
    model_record->state = BF_MODEL_STATE_LOADING;
    if (fat16_open(&file, found) != DISK_OK || !read(&file))
        return end(BF_MODEL_STATE_DISK_ERROR);
    fat16_close(&file);
    uint64_t loaded = rdtsc();
    if (!is_whole(file.size))
        return end(BF_MODEL_STATE_DAMAGED);
    uint64_t checked = rdtsc();
    model_record->transfer = ata_transfer();
    model_record->tsc = checked - begun;
    uint64_t per_ms = bareflow_status.tsc_hz / 1000 != 0 ? bareflow_status.tsc_hz / 1000 : 1;
    kprintf("[MODEL] %s: %u bytes at 0x%08x by %s in %u ms, every CRC right after %u ms more\n", found, file.size,
            BF_WEIGHTS_BASE, model_record->transfer == BF_TRANSFER_DMA ? "DMA" : "PIO",
            (uint32_t)((loaded - begun) / per_ms), (uint32_t)((checked - loaded) / per_ms));
    return end(BF_MODEL_STATE_LOADED);
}
