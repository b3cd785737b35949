/*
 * What the host orders about modules while the guest runs: load, unload, reload, register. An image is checked as at
 * boot, in a copy that the host cannot change meanwhile. Only at a safe point, where no module code is on the stack.
 */
#include "defs.h"

#define order (&mail_header->module)

/* The image that the host staged, in a block of its own; readers look at its header there. */
struct brought {
    bf_ptr image;
    uint32_t size;
    uint32_t level;
    struct module_image parts;
};

static const char *take(struct brought *brought) {
    uint32_t size = order->size;

    *brought = (struct brought){.size = size};
    if (size < sizeof(module_header_t) || size > BF_MODULE_STAGING_SIZE)
        return "the image is shorter than a header, or larger than what can be staged";
    brought->image = pool_alloc(BF_POOL_DATA, size, BF_OWNER_FILE, 0);
    if (brought->image == 0) {
        version_make_room();
        brought->image = pool_alloc(BF_POOL_DATA, size, BF_OWNER_FILE, 0);
    }
    if (brought->image == 0)
        return "the DATA pool has no room for the image";
    memcpy((void *)brought->image, (const void *)BF_MODULE_STAGING_BASE, size);
    const char *wrong = module_image_open(&brought->parts, (const void *)brought->image, size);
    if (wrong != NULL)
        return wrong;
    strncpy((char *)order->name, brought->parts.header->name, sizeof order->name);
    brought->level = brought->parts.tail.tier == 0 ? 0 : brought->parts.tail.tier - 1u;
    return brought->level < BF_LEVELS ? NULL : "it says that it is of a tier that does not exist";
}

static void give_back(uint32_t source, bf_ptr image) {
    if (source == BF_REASON_DISK || source == BF_REASON_HOST_ASKED)
        pool_free(BF_POOL_DATA, image);
}

static void own(const struct brought *brought, uint32_t module) {
    const block_header_t *block = (const block_header_t *)brought->image - 1;

    block_table_set((bf_ptr)block, block->size, BF_POOL_DATA, BF_BLOCK_USED, BF_OWNER_FILE, module);
    order->module = module;
    order->function = module_function(module);
}

static const char *load(const struct brought *brought) {
    uint32_t module = module_load((const void *)brought->image, brought->size, brought->level, BF_REASON_HOST_ASKED);

    if (module == NO_MODULE)
        return module_refusal();
    own(brought, module);
    return NULL;
}

/* The function's new version first: when there is no room for it, nothing has changed. */
static const char *reload(const struct brought *brought) {
    uint32_t module = module_find(brought->parts.header->name);
    struct bf_version *version = NULL;
    struct module_image loaded;

    if (module == NO_MODULE)
        return "no module of its name is loaded; load it";
    const struct bf_module_image old = module_images[module];
    const char *wrong = module_image_open(&loaded, (const void *)old.image, old.image_size);
    if (wrong == NULL && !module_image_same_data(&brought->parts, &loaded))
        wrong = "its writable data is laid out differently, and every version works on the data that is there";
    uint32_t function = module_function(module);
    if (wrong == NULL && function != NO_FUNCTION) {
        uint32_t failure = tier_from_host(function, &brought->parts, brought->level, &version);
        wrong = failure == BF_REASON_NONE ? NULL : reason_text(failure);
    }
    if (wrong != NULL)
        return wrong;
    if (!module_install_override(module, (const void *)brought->image, brought->size, brought->level,
                                 BF_REASON_HOST_ASKED)) {
        if (version != NULL)
            version_free(version, BF_REASON_CANCELLED);
        return module_refusal();
    }
    give_back(old.source, old.image);
    own_module_replaced(module);
    own(brought, module);
    kprintf("[OK] Module reloaded: %s (entry: 0x%08x)\n", brought->parts.header->name, module_images[module].entry);
    if (version != NULL) {
        /* Its other tiers and its bitcode are still those of the old source. */
        mail_slots[function].control = BF_CONTROL_VETO;
        publish_version(function, version, BF_REASON_HOST_ASKED);
        order->version = version->number;
    }
    return NULL;
}

static const char *unload(uint32_t module) {
    const struct bf_module_image image = module_images[module];

    if (module_function(module) != NO_FUNCTION)
        return "it is a function of the adaptive JIT, whose versions are called; reload it with other code";
    if (!module_unload(module))
        return module_refusal();
    give_back(image.source, image.image);
    return NULL;
}

static const char *register_named(uint32_t module) {
    if (module_function(module) != NO_FUNCTION)
        return "it is registered already";
    const char *wrong = own_module_register(module);
    order->module = module;
    order->function = module_function(module);
    return wrong;
}

static const char *carry_out(uint32_t action) {
    struct brought brought;
    char name[sizeof order->name];

    if (action == BF_MODULE_LOAD || action == BF_MODULE_RELOAD) {
        const char *wrong = take(&brought);
        if (wrong == NULL)
            wrong = action == BF_MODULE_LOAD ? load(&brought) : reload(&brought);
        if (wrong != NULL && brought.image != 0)
            pool_free(BF_POOL_DATA, brought.image);
        return wrong;
    }
    memcpy(name, (const void *)order->name, sizeof name);
    name[sizeof name - 1] = 0;
    uint32_t module = module_find(name);
    if (module == NO_MODULE)
        return "no module of that name is loaded";
    if (action == BF_MODULE_UNLOAD)
        return unload(module);
    return action == BF_MODULE_REGISTER ? register_named(module) : "this kernel knows no such order";
}

void module_orders_obey(void) {
    uint32_t action = order->action;

    if (action == BF_MODULE_NOTHING)
        return;
    order->module = NO_MODULE;
    order->function = NO_FUNCTION;
    order->version = 0;
    const char *wrong = carry_out(action);
    if (wrong != NULL)
        kprintf("[MODULE] refused: %s\n", wrong);
    strncpy((char *)order->why, wrong == NULL ? "" : wrong, sizeof order->why - 1);
    order->refused = wrong != NULL;
    order->orders++;
    __atomic_store_n(&order->action, BF_MODULE_NOTHING, __ATOMIC_RELEASE);
}
