/* The JIT half of the kernel: pools, modules, profiler, versions, adaptive JIT, mailbox, the run. */
#pragma once

typedef int32_t (*jit_code_t)(int32_t a, int32_t b);

/* root.c. The settable words of the root are read through SETTING: a debugger may write them at any time. */
extern struct bf_root bareflow_root;
extern struct bf_status bareflow_status;
#define SETTING(word) (*(volatile uint32_t *)&bareflow_root.word)
#define HOOKED(bit) ((SETTING(hook_mask) & (bit)) != 0)

/* crc32.c, sha256.c */
uint32_t crc32(const void *data, size_t size);
uint32_t crc32_more(uint32_t crc, const void *data, size_t size);
void sha256(const void *data, size_t size, uint8_t digest[32]);

/* ring.c; ring.h emits inline, for the places where the cost counts */
void ring_init(void);
void event(uint32_t type, uint32_t id, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

/* hooks.c */
void bareflow_hook_swap(uint32_t function, bf_ptr old_code, bf_ptr new_code, uint32_t version);
void bareflow_hook_pool_fail(uint32_t pool, uint32_t size);
void bareflow_hook_register(uint32_t function, const char *name);
void bareflow_hook_module_load(uint32_t module, bf_ptr code, uint32_t size);
void bareflow_hook_reject(uint32_t function, uint32_t reason);
void bareflow_hook_phase(uint32_t function, uint32_t phase, uint32_t level);
void bareflow_hook_kernel(uint32_t function, uint32_t layer, uint32_t job);
void adaptive_jit_swap_code(jit_function_entry_t *entry, bf_ptr new_code, uint32_t level);

/* block_table.c: one record per pool block, for readers that want a pool in one read */
extern struct bf_block_table *block_table;
void block_table_init(struct bf_block_table *table, uint32_t capacity);
void block_table_set(bf_ptr address, uint32_t size, uint32_t pool, uint32_t state, uint32_t owner_kind, uint32_t owner);
void block_table_remove(bf_ptr address);
const struct bf_block *block_table_find(bf_ptr address);

/* pools.c. Sizes in bytes, rounded up to 8; an address of 0 = no memory. */
extern memory_pool_t g_pools[3];
/* The first block of the METADATA pool, known when the root descriptor is linked. */
#define BLOCK_TABLE_ADDRESS (BF_POOL_METADATA_BASE + (uint32_t)sizeof(block_header_t))
void jit_allocator_init(void);
void *jit_alloc_code(uint32_t size);
void *jit_alloc_data(uint32_t size);
void *jit_alloc_metadata(uint32_t size);
void jit_free_code(void *pointer);
void jit_free_data(void *pointer);
void jit_free_metadata(void *pointer);
/* Rounds up to 16, so that blocks with owners, which hold code and data areas, begin at multiples of 16. */
bf_ptr pool_alloc(uint32_t pool, uint32_t size, uint32_t owner_kind, uint32_t owner);
bool pool_free(uint32_t pool, bf_ptr payload);
void pool_shrink(uint32_t pool, bf_ptr payload, uint32_t size);
void pool_mute(bool muted);     /* no lines, no events, no hooks: for the self-tests */

/* pools_test.c: returns how many of the ten passed */
uint32_t pools_self_test(void);

/* module_image.c: a module image taken apart and its parts placed */
struct module_image {
    const module_header_t *header;
    const uint8_t *body;        /* header->code_size bytes */
    struct bf_module_tail tail; /* made up for version 1: all of it code */
    struct bf_module_call call; /* magic 0 = the image does not say */
    uint32_t bss_size;
    const uint32_t *relocations;
    uint32_t relocation_count;
    uint32_t entry_offset;
};

/* Where the parts of one image are. */
struct module_parts {
    bf_ptr code;
    bf_ptr rodata;              /* 0 = none */
    bf_ptr entry;
};

/* instructions.c */
uint32_t instructions_end(const uint8_t *code, uint32_t size, uint32_t features);

/* module_image.c */
const char *module_image_open(struct module_image *image, const void *bytes, uint32_t size);
const char *module_image_tier(const struct module_image *image, uint32_t level);
bool module_image_place(const struct module_image *image, bf_ptr data, uint32_t owner_kind, uint32_t owner,
                        struct module_parts *parts);
bf_ptr module_image_place_data(const struct module_image *image, uint32_t owner_kind, uint32_t owner);
bool module_image_same_data(const struct module_image *a, const struct module_image *b);

/* module.c */
struct embedded_module {
    const char *name;
    const void *image[BF_LEVELS];       /* 0 = not embedded; O0 always is */
    uint32_t image_size[BF_LEVELS];
    const void *bitcode;        /* header and payload, 0 = not embedded */
    uint32_t bitcode_size;
    int32_t arguments[2];
    int32_t expected;
};
extern const struct embedded_module embedded_modules[];
extern const uint32_t embedded_module_count;

extern module_manager_t module_manager;
extern struct bf_module_image module_images[BF_MAX_MODULES];
#define NO_MODULE 0xFFFFFFFFu
void module_init(void);
uint32_t module_load(const void *bytes, uint32_t size, uint32_t level, uint32_t source);
uint32_t module_find(const char *name);
int32_t module_execute(uint32_t module, int32_t a, int32_t b);
bool module_install_override(uint32_t module, const void *bytes, uint32_t size, uint32_t level, uint32_t source);
uint32_t module_load_versioned(const void *bytes, uint32_t size, uint32_t level, uint32_t source);
bool module_unload(uint32_t module);
uint32_t module_function(uint32_t module);  /* NO_FUNCTION = it is not registered */
const char *module_refusal(void);       /* why the last of these was refused */
void module_symbols(uint32_t module, bf_ptr *symbols, uint32_t *count);
void module_print_stats(void);

/* module_test.c */
void module_load_embedded(void);
uint32_t module_test_results(void);
uint32_t module_test_life(void);

/* profiler.c */
extern function_profiler_t *const function_profiler;
#define NO_FUNCTION 0xFFFFFFFFu
uint32_t profiler_register(const char *name, const char *module_name, uint32_t address);
uint32_t profiler_hot_list(uint32_t *ids, uint32_t capacity);
void profiler_print(void);

/* version.c */
extern struct bf_function function_table[BF_MAX_FUNCTIONS];
extern struct bf_version version_table[BF_MAX_VERSIONS];
extern struct bf_version_cause version_causes[BF_MAX_VERSIONS];
extern struct bf_version_cost version_costs[BF_MAX_VERSIONS];
extern struct bf_version_cause threshold_met[BF_MAX_FUNCTIONS];
struct bf_version *version_new(uint32_t function, uint32_t level, uint32_t provider, uint32_t reason);
struct bf_version *version_find(uint32_t number);
struct bf_version *version_at_entry(uint32_t function, bf_ptr entry);
void version_emitted(struct bf_version *version, const struct module_parts *parts, uint32_t code_size,
                     uint32_t rodata_size);
void version_free(struct bf_version *version, uint32_t reason);
void version_free_retired(uint32_t function, uint32_t keep);
void version_make_room(void);

/* publish.c. Only at a safe point. */
extern adaptive_jit_t adaptive_jit;
extern uint32_t jit_not_yet_called;     /* bit n: function n has a version that was never called */
extern bf_ptr jit_last_code[BF_MAX_FUNCTIONS];  /* what the last call of each went through; 0 after a publish */
void publish_initial(uint32_t function, struct bf_version *version);
void publish_version(uint32_t function, struct bf_version *version, uint32_t reason);
bool publish_roll_back(uint32_t function, uint32_t number);
void publish_reject(uint32_t function, uint32_t reason, uint32_t request, uint32_t level);
void publish_phase(uint32_t function, uint32_t phase, uint32_t level);   /* enum bf_swap_phase */
void publish_print_path(uint32_t function);
const char *reason_text(uint32_t reason);

/*
 * adaptive_jit_tiers.c; an application on the library brings its own (kernel_lib/debug/functions.c). tier_attach finds
 * who makes a function's tiers and which data they share, and returns its module's name.
 */
const char *tier_attach(struct bf_function *record);
void tier_find_bitcode(struct bf_function *record, const struct embedded_module *source);
uint32_t tier_make(uint32_t function, const struct embedded_module *source, uint32_t level, uint32_t reason,
                   struct bf_version **made);
uint32_t tier_from_host(uint32_t function, const struct module_image *image, uint32_t level, struct bf_version **made);

/* bitcode.c */
const char *bitcode_validate(const void *bytes, uint32_t size);
bool bitcode_load(uint32_t module, bf_ptr *bitcode, uint32_t *bytes);
void bitcode_free(bf_ptr bitcode);

/* mailbox.c */
#define mail_header ((volatile struct bf_mailbox *)BF_MAILBOX_HEADER)
#define mail_slots ((volatile struct bf_mail_slot *)BF_MAILBOX_SLOTS)
extern uint32_t mailbox_active;         /* bit n: slot n is not idle */
void mailbox_init(void);
bool mailbox_request(uint32_t function, uint32_t level, uint32_t reason);
bool mailbox_take_ring(void);
void mailbox_advance(uint32_t function);
void mailbox_answer(uint32_t function);
bool mailbox_waiting(void);             /* a host is at work, and worth spinning for */

/* adaptive_jit.c */
void adaptive_jit_init(void);
uint32_t adaptive_jit_register_function(const struct embedded_module *source, uint32_t module);
void adaptive_jit_expect_nothing(uint32_t function);    /* its result differs from call to call */
/* By an application, between calls, see bf_root.asks. False = the function keeps the level that it has. */
bool adaptive_jit_ask(uint32_t function, uint32_t level);
/* The same of the host, from the bitcode, also for a level that it has: with the vector instructions of this CPU. */
bool adaptive_jit_ask_host(uint32_t function, uint32_t level);
void adaptive_jit_wait_while_held(void);
int32_t adaptive_jit_call(uint32_t function, int32_t a, int32_t b);
void adaptive_jit_safe_point(void);

/* own_modules.c */
void own_modules_register(void);
const char *own_module_register(uint32_t module);   /* returns why it was not, NULL when it was */
void own_module_replaced(uint32_t module);

/* module_orders.c; an application on the library has none */
__attribute__((weak)) void module_orders_obey(void);

/* export.c */
void export_modules(void);
void export_functions(void);

/* bench.c */
void bench_ring_cost(void);
void bench_ring_flood(void);
void bench_call_cost(void);

/* storm.c */
void calls_until_stopped(void);
void swap_storm(void);
