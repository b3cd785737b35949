/*
 * The cache of module images in the DATA pool: filled from disk on demand, least recently executed first out.
 * An image whose version is published, or that a loaded module was made from, stays.
 */
#include "disk.h"

#define EMPTY 0
#define FILLED 1
#define PUBLISHED 2
#define LARGEST_IMAGE (BF_POOL_DATA_SIZE / 2)   /* for a larger one nearly all others would have to leave */

struct bf_cache bareflow_cache = {.slot_count = BF_CACHE_SLOTS};

static void tell(const char *name, uint32_t slot, uint32_t level, uint32_t reason) {
    event(BF_EVENT_CACHE, module_find(name), slot, level, reason, 0);
}

static struct bf_cache_slot *find(const char *name, uint32_t level) {
    for (uint32_t i = 0; i < BF_CACHE_SLOTS; i++) {
        struct bf_cache_slot *slot = &bareflow_cache.slots[i];
        if (slot->state != EMPTY && slot->level == level && strcmp(slot->name, name) == 0)
            return slot;
    }
    return NULL;
}

static bool in_use(const struct bf_cache_slot *slot) {
    if (slot->state == PUBLISHED)
        return true;
    for (uint32_t i = 0; i < module_manager.num_modules; i++)
        if (module_images[i].image == slot->image)
            return true;
    return false;
}

/* The proof for debuggers that the order was broken; it shares nothing with the choice. */
static void note_order(const struct bf_cache_slot *leaving) {
    if (leaving->state == PUBLISHED)
        bareflow_cache.left_early = *leaving;
    for (uint32_t i = 0; i < BF_CACHE_SLOTS; i++) {
        struct bf_cache_slot *slot = &bareflow_cache.slots[i];
        if (slot->state == FILLED && slot->tsc_last_used < leaving->tsc_last_used && !in_use(slot)) {
            bareflow_cache.left_early = *leaving;
            bareflow_cache.older = *slot;
        }
    }
}

/* Empties the slot whose code was executed longest ago; NULL when all images are in use. */
static struct bf_cache_slot *evict(void) {
    struct bf_cache_slot *oldest = NULL;

    for (uint32_t i = 0; i < BF_CACHE_SLOTS; i++) {
        struct bf_cache_slot *slot = &bareflow_cache.slots[i];
        if (slot->state != EMPTY && !in_use(slot) && (oldest == NULL || slot->tsc_last_used < oldest->tsc_last_used))
            oldest = slot;
    }
    if (oldest == NULL)
        return NULL;
    note_order(oldest);
    tell(oldest->name, (uint32_t)(oldest - bareflow_cache.slots), oldest->level, BF_REASON_EVICTED);
    pool_free(BF_POOL_DATA, oldest->image);
    *oldest = (struct bf_cache_slot){0};
    bareflow_cache.evictions++;
    return oldest;
}

static struct bf_cache_slot *free_slot(void) {
    for (uint32_t i = 0; i < BF_CACHE_SLOTS; i++)
        if (bareflow_cache.slots[i].state == EMPTY)
            return &bareflow_cache.slots[i];
    return evict();
}

/* NULL when the image is whole, signed, and of this module. */
static const char *check(const char *name, uint32_t level, const void *bytes, uint32_t size) {
    struct module_image image;
    const char *wrong = module_image_open(&image, bytes, size);

    if (wrong != NULL)
        return wrong;
    if (image.header->version < 2)
        return "it has no signature";
    if (strcmp(image.header->name, name) != 0)
        return "it is another module's";
    return module_image_tier(&image, level);
}

static void file_of(const char *name, uint32_t level, char file[13]) {
    char extension[4] = "MOD";

    if (level != 0)
        ksnprintf(extension, sizeof extension, "O%u", level);
    disk_name(file, name, extension);
}

static bool fill(struct bf_cache_slot *slot, const char *name, uint32_t level, const char *file) {
    uint32_t number = (uint32_t)(slot - bareflow_cache.slots);
    bf_ptr image;
    int32_t size = disk_read_new(file, BF_OWNER_CACHE, number, &image);

    while (size == DISK_TOO_SMALL && evict() != NULL)
        size = disk_read_new(file, BF_OWNER_CACHE, number, &image);
    if (size < 0)
        return false;
    const char *wrong = check(name, level, (const void *)image, (uint32_t)size);
    if (wrong != NULL) {
        kprintf("[CACHE] %s refused: %s\n", file, wrong);
        pool_free(BF_POOL_DATA, image);
        return false;
    }
    strncpy(slot->name, name, sizeof slot->name - 1);
    slot->level = level;
    slot->image = image;
    slot->image_size = (uint32_t)size;
    slot->tsc_last_used = rdtsc();
    slot->state = FILLED;
    tell(name, number, level, BF_REASON_DISK);
    return true;
}

static struct bf_cache_slot *load(const char *name, uint32_t level) {
    char file[13];

    bareflow_cache.misses++;
    file_of(name, level, file);
    int32_t size = disk_file_size(file);
    if (size > LARGEST_IMAGE)
        kprintf("[CACHE] %s refused: %u bytes are more than an image may have\n", file, (uint32_t)size);
    /* Nothing is evicted for a file that cannot be taken. */
    if (size < 0 || size > LARGEST_IMAGE)
        return NULL;
    struct bf_cache_slot *slot = free_slot();
    if (slot == NULL) {
        kprintf("[CACHE] No slot for %s O%u: all images are in use\n", name, level);
        return NULL;
    }
    return fill(slot, name, level, file) ? slot : NULL;
}

bool cache_get(const char *name, uint32_t level, const uint8_t **image, uint32_t *size) {
    if (cache_embedded_find(name, level, image, size)) {
        bareflow_cache.hits++;
        return true;
    }
    struct bf_cache_slot *slot = find(name, level);
    if (slot != NULL) {
        bareflow_cache.hits++;
        tell(name, (uint32_t)(slot - bareflow_cache.slots), level, BF_REASON_CACHE);
    } else {
        slot = load(name, level);
        if (slot == NULL)
            return false;
    }
    *image = (const uint8_t *)slot->image;
    *size = slot->image_size;
    return true;
}

void cache_mark_used(const char *name, uint32_t level) {
    struct bf_cache_slot *slot = find(name, level);

    if (slot != NULL)
        slot->tsc_last_used = rdtsc();
}

void cache_mark_published(const char *name, uint32_t level) {
    for (uint32_t i = 0; i < BF_CACHE_SLOTS; i++) {
        struct bf_cache_slot *slot = &bareflow_cache.slots[i];
        if (slot->state == EMPTY || strcmp(slot->name, name) != 0)
            continue;
        /* What is replaced now was executed until now. */
        if (slot->level == level || slot->state == PUBLISHED)
            slot->tsc_last_used = rdtsc();
        slot->state = slot->level == level ? PUBLISHED : FILLED;
    }
}
