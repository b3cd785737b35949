/*
 * The contract between the BareFlow kernel and everything that looks at it from outside.
 *
 * The firmware includes this file; the suite parses the same text with dissect.cstruct. One text, no copies.
 * Subset of C: `#define NAME number`, plain `enum`, one field per line, fixed-width types, explicit padding so
 * that packed offsets equal the i386 ones (u64 is aligned to 4). Enum-valued fields are uintN_t.
 * Little-endian throughout. Addresses are 32-bit physical = linear ones (no paging). Every CRC is zlib's CRC-32.
 */
#ifndef BF_BAREFLOW_H
#define BF_BAREFLOW_H

typedef uint32_t bf_ptr;

/* ---- Memory map (machine pc, 64 MiB) ---------------------------------------------------------------------- */
#define BF_BOOT_RECORD_ADDRESS 0x00000600
#define BF_MODEL_RECORD_ADDRESS 0x000006C0
#define BF_STAGE1_ADDRESS 0x00007C00
#define BF_STAGE2_ADDRESS 0x00007E00
#define BF_STAGE2_SECTORS 8
#define BF_IMAGE_BASE 0x00010000
#define BF_IMAGE_ENTRY 0x00010004
#define BF_IMAGE_LBA 9
#define BF_IMAGE_MAX_SECTORS 512
#define BF_IMAGE_LIMIT 0x00080000
#define BF_STACK_BOTTOM 0x00080000
#define BF_STACK_TOP 0x00090000
#define BF_HEAP_BASE 0x00100000
#define BF_HEAP_SIZE 0x00040000
#define BF_POOL_CODE_BASE 0x00200000
#define BF_POOL_CODE_SIZE 0x00040000
#define BF_POOL_DATA_BASE 0x00240000
#define BF_POOL_DATA_SIZE 0x00080000
#define BF_POOL_METADATA_BASE 0x002C0000
#define BF_POOL_METADATA_SIZE 0x00020000
#define BF_RING0_HEADER 0x00300000
#define BF_RING0_RECORDS 0x00301000
#define BF_RING0_CAPACITY 65536
#define BF_RING1_HEADER 0x00501000
#define BF_RING1_RECORDS 0x00502000
#define BF_RING1_CAPACITY 8192
#define BF_MAILBOX_SLOTS 0x00600000
#define BF_MAILBOX_HEADER 0x00601000
#define BF_STAGING_BASE 0x00602000
#define BF_STAGING_SIZE 0x00008000
#define BF_MODULE_STAGING_BASE 0x00702000
#define BF_MODULE_STAGING_SIZE 0x00020000
#define BF_WEIGHTS_BASE 0x00800000
#define BF_VGA_TEXT 0x000B8000
#define BF_VGA_TEXT_BYTES 4000

#define BF_NAME_BYTES 32
#define BF_MAX_FUNCTIONS 32
#define BF_MAX_MODULES 16
#define BF_MAX_VERSIONS 512
#define BF_COST_SAMPLES 32
#define BF_MAX_BLOCKS 2048
#define BF_LEVELS 4

/* ---- Image header: the first 32 bytes of the kernel image, at BF_IMAGE_BASE ---------------------------------- */
#define BF_FLUD_MAGIC 0x464C5544

struct bf_image_header {
    uint32_t magic;             /* BF_FLUD_MAGIC; bytes 44 55 4c 46 */
    uint8_t jump[4];            /* `jmp short` over this header; stage 2 enters here */
    bf_ptr root;                /* address of struct bf_root */
    uint32_t image_bytes;       /* bytes on disk; stage 2 reads ceil(image_bytes / 512) sectors */
    uint32_t crc;               /* CRC-32 of the image_bytes, this field taken as 0 */
    uint32_t reserved[3];
};

/* ---- Boot record, at BF_BOOT_RECORD_ADDRESS; written from stage 1 on --------------------------------------- */
#define BF_BOOT_MAGIC 0x52424642
#define BF_BOOT_STAGES 16

enum bf_boot_stage {
    BF_STAGE_NONE = 0,
    BF_STAGE_STAGE1 = 1,        /* stage 1 runs */
    BF_STAGE_STAGE2 = 2,        /* stage 2 runs */
    BF_STAGE_A20 = 3,           /* A20 is on */
    BF_STAGE_HEADER = 4,        /* first image sector is in memory, signature seen */
    BF_STAGE_LOADED = 5,        /* the whole image is in memory */
    BF_STAGE_VERIFIED = 6,      /* the CRC is right */
    BF_STAGE_PROTECTED = 7,     /* CR0.PE is set, flat segments are loaded */
    BF_STAGE_KERNEL = 8,        /* the kernel's first instruction has run */
    BF_STAGE_CORE = 9,          /* serial, VGA, IDT, heap are up */
    BF_STAGE_POOLS = 10,        /* the JIT pools are up */
    BF_STAGE_MODULES = 11,      /* modules are loaded and tested */
    BF_STAGE_REGISTERED = 12,   /* functions are registered with the adaptive JIT; a hold waits here */
    BF_STAGE_RUNNING = 13,      /* the run has begun */
    BF_STAGE_IDLE = 14,         /* the run has ended; the kernel serves the mailbox */
    BF_STAGE_HALTED = 15        /* stopped for good: fatal error, exception, or, since 1.2, an application that is done */
};

enum bf_disk_method {
    BF_DISK_NONE = 0,
    BF_DISK_LBA = 1,
    BF_DISK_CHS = 2
};

enum bf_a20_method {
    BF_A20_NONE = 0,
    BF_A20_ALREADY_ON = 1,
    BF_A20_BIOS = 2,            /* INT 15h AX=2401h */
    BF_A20_KEYBOARD = 3,        /* 8042 output port */
    BF_A20_FAST = 4             /* port 92h */
};

enum bf_fatal {
    BF_FATAL_NONE = 0,
    BF_FATAL_SIGNATURE = 0x51,
    BF_FATAL_A20 = 0xA2,
    BF_FATAL_DISK = 0xD1,
    BF_FATAL_VERIFY = 0xD2,     /* CRC wrong, or the image is larger than the loader holds */
    BF_FATAL_NO_KERNEL = 0xE0
};

/* What became of the packed model of the second disk (model.h); since 1.4. */
enum bf_model_state {
    BF_MODEL_STATE_NONE = 0,    /* not looked for, or there is no second disk */
    BF_MODEL_STATE_NO_FILE = 1, /* the disk has no file NAME.BFM */
    BF_MODEL_STATE_NO_RAM = 2,  /* it does not fit between BF_WEIGHTS_BASE and the end of RAM */
    BF_MODEL_STATE_LOADING = 3,
    BF_MODEL_STATE_DISK_ERROR = 4,  /* after `loaded` bytes */
    BF_MODEL_STATE_DAMAGED = 5, /* no packed model, another version of it, or a CRC is wrong */
    BF_MODEL_STATE_LOADED = 6   /* all of it is in memory, and every CRC is right */
};

enum bf_transfer {
    BF_TRANSFER_NONE = 0,
    BF_TRANSFER_PIO = 1,        /* the CPU copies */
    BF_TRANSFER_DMA = 2         /* the PIIX's bus master does */
};

struct bf_boot_record {
    uint32_t magic;             /* BF_BOOT_MAGIC, "BFBR" */
    uint32_t size;              /* bytes of this record */
    uint32_t stage;             /* enum bf_boot_stage: the last one reached */
    uint32_t fatal;             /* enum bf_fatal */
    uint32_t drive;             /* BIOS drive number */
    uint32_t disk_method;       /* enum bf_disk_method */
    uint32_t a20_method;        /* enum bf_a20_method */
    uint32_t sectors_needed;    /* ceil(image bytes / 512), from the image header */
    uint32_t sectors_asked;     /* sectors asked from the BIOS so far */
    uint32_t sectors_read;      /* sectors that the BIOS delivered */
    uint32_t load_address;
    uint32_t memory_kib;        /* memory above 1 MiB, in KiB, by INT 15h AX=E801h or AH=88h */
    uint32_t signature;         /* the u32 seen at the load address */
    uint32_t crc_expected;
    uint32_t crc_computed;
    uint32_t bios_status;       /* AH of the last failed INT 13h, 0 if none failed */
    uint64_t stage_tsc[16];     /* TSC when each stage was reached, 0 = not reached */
};

/* Directly behind the boot record, at BF_MODEL_RECORD_ADDRESS; since 1.4. */
#define BF_MODEL_RECORD_MAGIC 0x52434D42

struct bf_model_record {
    uint32_t magic;             /* BF_MODEL_RECORD_MAGIC, "BMCR" */
    uint32_t state;             /* enum bf_model_state */
    uint32_t bytes;             /* of the packed model's file; it begins at BF_WEIGHTS_BASE */
    uint32_t loaded;            /* bytes of it that are in memory */
    uint32_t transfer;          /* enum bf_transfer: how the disk was read */
    bf_ptr question;            /* struct bf_model_question, 0 = nothing is answered here */
    uint64_t tsc;               /* TSC ticks that loading and checking took */
    bf_ptr inference;           /* struct bf_inference, 0 = no model computes here; since 1.5 */
};

/* What the model is asked, by whoever writes memory. `asked` is written last, and becomes 0 when the answer is over. */
#define BF_QUESTION_TEXT 4096

enum bf_asked {
    BF_ASKED_NOTHING = 0,
    BF_ASKED_ANSWER = 1,
    BF_ASKED_NO_MORE = 2,       /* the answer ends after its next token */
    BF_ASKED_TYPED = 3          /* by the guest: a question that was typed is being answered, not this one */
};

struct bf_model_question {
    uint32_t asked;             /* enum bf_asked */
    uint32_t tokens;            /* of the answer, at most */
    uint32_t chat;              /* 1 = as a person who talks to the model */
    uint32_t bytes;
    char text[BF_QUESTION_TEXT];
    /* Since 1.5. */
    uint32_t temperature;       /* in 1/BF_SAMPLE_ONE; 0 = the likeliest token, always */
    uint32_t top_p;             /* in 1/BF_SAMPLE_ONE; only the likeliest tokens that have this share together */
    uint32_t seed;              /* the same one gives the same tokens */
};

#define BF_SAMPLE_ONE 65536
#define BF_SAMPLE_MOST 6553600  /* a temperature of 100 */

/* ---- A language model at work; since 1.5 ------------------------------------------------------------------------- */
#define BF_INFERENCE_MAGIC 0x464E4942   /* "BINF" */
#define BF_INFERENCE_NONE 0xFFFFFFFFu   /* no layer, no kernel, no position */

enum bf_inference_state {
    BF_INFERENCE_WAITING = 0,   /* for a question */
    BF_INFERENCE_READING = 1,   /* the question's text */
    BF_INFERENCE_ANSWERING = 2
};

enum bf_answer_end {
    BF_END_NONE = 0,            /* not at an end */
    BF_END_FULL = 1,            /* as many tokens as were wanted */
    BF_END_STOPPED = 2,         /* the model's own end of the text */
    BF_END_NO_ROOM = 3,         /* all positions are used */
    BF_END_INTERRUPTED = 4,     /* by who asked */
    BF_END_BAD_TEXT = 5         /* too long, empty, or with a byte that the model has no token for */
};

enum bf_number {
    BF_NUMBER_FLOAT = 0,        /* of 32 bits */
    BF_NUMBER_INT16 = 1,
    BF_NUMBER_INT32 = 2
};

/* Memory that the model computes with, beside its weights. */
struct bf_buffer {
    char name[20];
    uint32_t type;              /* enum bf_number */
    bf_ptr address;
    uint32_t rows;
    uint32_t columns;
};
#define BF_MOST_BUFFERS 32

#define BF_SPEED_TIERS 5        /* O0 to O3, then the host's code */

struct bf_speed {
    uint64_t cycles;
    uint32_t tokens;            /* in which the matrix product kept its tier */
    uint32_t reserved;
};

/*
 * The stream, which each layer adds to, is kept of the last token: row 0 as it was embedded, row 1 + 2n behind the
 * attention of layer n, row 2 + 2n behind its feed. A row is of the position in kept_positions, BF_INFERENCE_NONE while
 * it is written; kept_rows is 1 + 2 x the layers.
 */
struct bf_inference {
    uint32_t magic;             /* BF_INFERENCE_MAGIC */
    uint32_t size;              /* bytes of this record */
    uint32_t state;             /* enum bf_inference_state */
    uint32_t end;               /* enum bf_answer_end of the last answer */
    uint32_t answers;           /* questions so far; one more when the next begins */
    uint32_t positions;         /* that the keys and values have room for */
    uint32_t position;          /* tokens whose keys and values are all there */
    uint32_t layer;             /* that is computed now */
    uint32_t kernel;            /* function that computes now */
    uint32_t job;               /* kernels before it in this layer, or outside of layers */
    bf_ptr ids;                 /* uint32_t[text_count + count]: the question's tokens, then the answer's */
    uint32_t text_count;
    uint32_t count;
    uint32_t wanted;            /* tokens of the answer, at most */
    uint32_t logits_position;   /* that the logits are of */
    uint32_t logits_crc;        /* of all logits that a token was taken from */
    uint32_t temperature;       /* as in the question */
    uint32_t top_p;
    uint32_t seed;
    bf_ptr buffers;             /* struct bf_buffer[buffer_count] */
    uint32_t buffer_count;
    bf_ptr kept;                /* float [kept_rows][dim] */
    bf_ptr kept_positions;      /* uint32_t [kept_rows] */
    uint32_t kept_rows;
    bf_ptr memory;              /* what of RAM is the model's beside its weights: from here … */
    bf_ptr memory_used;         /* … to here in use … */
    bf_ptr memory_end;          /* … and to here free */
    struct bf_speed speed[BF_SPEED_TIERS];  /* since the last answer began */
};

/* ---- Root descriptor ------------------------------------------------------------------------------------------ */
/* The 16 magic bytes "BareFlow root\r\n\x1a" as four little-endian words. */
#define BF_ROOT_MAGIC0 0x65726142
#define BF_ROOT_MAGIC1 0x776F6C46
#define BF_ROOT_MAGIC2 0x6F6F7220
#define BF_ROOT_MAGIC3 0x1A0A0D74
#define BF_ABI_MAJOR 1
#define BF_ABI_MINOR 6

enum bf_variant {
    BF_VARIANT_KERNEL = 0,
    BF_VARIANT_UNIKERNEL = 1
};

/* Who asks for a function's next level. */
enum bf_asks {
    BF_ASKS_THRESHOLD = 0,      /* its call count, at each threshold */
    BF_ASKS_APPLICATION = 1     /* the application, when it likes; the thresholds are its advice */
};

/* Bits of bf_root.hook_mask; each hook is a function in the .hooks page, called only when its bit is set. */
enum bf_hook {
    BF_HOOK_SWAP = 1,           /* bareflow_hook_swap(function, old_code, new_code, version) */
    BF_HOOK_EXCEPTION = 2,      /* bareflow_hook_exception(record) */
    BF_HOOK_POOL_FAIL = 4,      /* bareflow_hook_pool_fail(pool, size) */
    BF_HOOK_REGISTER = 8,       /* bareflow_hook_register(function, name) */
    BF_HOOK_MODULE_LOAD = 16,   /* bareflow_hook_module_load(module, code, size) */
    BF_HOOK_REJECT = 32,        /* bareflow_hook_reject(function, reason) */
    BF_HOOK_PHASE = 64,         /* bareflow_hook_phase(function, phase, level), at each change; since 1.3 */
    BF_HOOK_KERNEL = 128        /* bareflow_hook_kernel(function, layer, job), before each of a model's; since 1.5 */
};

/*
 * Vector instructions: in bf_status.cpu_features those that the CPU has and the kernel has enabled, in a version's or a
 * slot's `features` those that its code has. Code that an application asks for may have them, and none else. Since 1.4.
 */
enum bf_feature {
    BF_FEATURE_SSE = 1,
    BF_FEATURE_SSE2 = 2,
    BF_FEATURE_SSE3 = 4,
    BF_FEATURE_SSSE3 = 8,
    BF_FEATURE_SSE4_1 = 16,
    BF_FEATURE_SSE4_2 = 32,
    BF_FEATURE_AVX = 64,
    BF_FEATURE_AVX2 = 128
};

enum bf_scenario {
    BF_SCENARIO_RUN = 0,        /* tests, adaptive run of every function, export, idle */
    BF_SCENARIO_RING_COST = 1,  /* measures an event's cost on and off, then idle */
    BF_SCENARIO_RING_FLOOD = 2, /* computes and emits MARK events until bf_root.scenario_stop is set */
    BF_SCENARIO_CALL_COST = 3,  /* measures a profiled call against the bare call, then idle */
    BF_SCENARIO_MODULE_LIFE = 4, /* loads, replaces, refuses and unloads modules, then idle */
    BF_SCENARIO_SWAP_STORM = 5, /* swaps all functions run_calls times (100,000) while they run, idle; since 1.5 */
    BF_SCENARIO_CALLS = 6       /* calls every function in its turn until scenario_stop is set, idle; since 1.6 */
};

/*
 * checksum: CRC-32 of the first checked_size bytes, the checksum field taken as 0. The words after checked_size
 * are the ones that a debugger, a launcher or a test may set; all are read once, at their first use in the run,
 * except hook_mask, call_sample and scenario_stop, which are read each time.
 */
struct bf_root {
    uint32_t magic[4];
    uint16_t abi_major;
    uint16_t abi_minor;
    uint32_t size;              /* bytes of this record */
    uint32_t checked_size;
    uint32_t checksum;
    bf_ptr image_base;
    uint32_t image_bytes;       /* bytes on disk */
    bf_ptr image_end;           /* first address after .bss */
    uint8_t build_id[20];       /* the ELF's GNU build id */
    uint32_t variant;           /* enum bf_variant */
    uint32_t cpu_count;
    bf_ptr boot_record;         /* struct bf_boot_record */
    bf_ptr module_manager;      /* module_manager_t (stock_kernel.h) */
    bf_ptr function_profiler;   /* function_profiler_t */
    bf_ptr adaptive_jit;        /* adaptive_jit_t */
    bf_ptr function_table;      /* struct bf_function[BF_MAX_FUNCTIONS] */
    bf_ptr version_table;       /* struct bf_version[BF_MAX_VERSIONS] */
    bf_ptr pools;               /* memory_pool_t[3] */
    bf_ptr block_table;         /* struct bf_block_table */
    bf_ptr rings[4];            /* struct bf_ring_header, 0 = none */
    bf_ptr mailbox;             /* struct bf_mailbox */
    bf_ptr exception;           /* struct bf_exception */
    bf_ptr fat16;               /* fat16_fs_t, 0 = no disk driver */
    bf_ptr jit_profile;         /* jit_profile_t (stock_unikernel.h), 0 = none */
    bf_ptr log_buffer;          /* struct bf_log */
    bf_ptr exports;             /* struct bf_symbol[export_count] */
    uint32_t export_count;
    bf_ptr status;              /* struct bf_status */
    bf_ptr cache;               /* struct bf_cache, 0 = none */
    bf_ptr module_images;       /* struct bf_module_image[BF_MAX_MODULES], index as in module_manager; 0 = none */
    bf_ptr version_causes;      /* struct bf_version_cause[BF_MAX_VERSIONS], index as in version_table; 0 = none */
    uint32_t asks;              /* enum bf_asks; since 1.2, 0 before */
    /* the settable words; checked_size ends here */
    uint32_t thresholds[3];     /* calls at which O1, O2, O3 are asked for: 100, 1000, 10000 */
    uint32_t hook_mask;         /* enum bf_hook bits */
    uint32_t hold;              /* not 0: wait after registration until it becomes 0 */
    uint32_t call_sample;       /* CALL events: every n-th call after the first 16 of a version; 0 = 64 */
    uint32_t scenario;          /* enum bf_scenario */
    uint32_t scenario_stop;
    uint32_t run_calls;         /* calls of each function in the run; 0 = thresholds[2] + 1 */
    uint32_t settable_reserved[3];
};

#define BF_COM1_DIVISOR 1       /* 115200 baud */

/* What the kernel counts while it runs; not covered by any checksum. */
struct bf_status {
    uint64_t tsc_hz;            /* measured against the PIT at boot; 0 = not measured yet */
    uint32_t function_count;    /* records of the function table in use */
    uint32_t version_count;     /* versions ever made; the newest version's number */
    uint32_t swap_count;        /* publishing stores ever made */
    uint32_t irq_count;         /* timer ticks */
    uint32_t idle_loops;        /* turns of the idle loop, each a safe point */
    uint32_t bench_iterations;  /* BF_SCENARIO_RING_COST: turns of each loop; …_SWAP_STORM, …_CALLS: calls */
    uint64_t bench_empty_tsc;   /* TSC ticks of the loop with no call site */
    uint64_t bench_off_tsc;     /* … with a call site whose type is masked off */
    uint64_t bench_on_tsc;      /* … with an event written each turn */
    uint32_t bench_emitted;     /* BF_SCENARIO_RING_FLOOD: events emitted */
    uint32_t bench_result;      /* what the guest computed meanwhile; …_SWAP_STORM, …_CALLS: results that were wrong */
    uint32_t com1_divisor;      /* of COM1's UART, read back after it was set; since 1.1 */
    bf_ptr version_costs;       /* struct bf_version_cost[BF_MAX_VERSIONS], index as in version_table; since 1.3 */
    uint32_t cpu_features;      /* enum bf_feature bits that the code of versions may need; since 1.4 */
};

/* An exported kernel symbol, or a symbol of a function's shared data. */
struct bf_symbol {
    char name[32];
    bf_ptr address;
    uint32_t size;
};

/* ---- Functions and versions ------------------------------------------------------------------------------------ */
enum bf_provider {
    BF_PROVIDER_NONE = 0,
    BF_PROVIDER_PRECOMPILED = 1, /* tiers made at build time, embedded or from disk */
    BF_PROVIDER_MICRO_JIT = 2,
    BF_PROVIDER_HOST = 3         /* through the mailbox */
};

/* int32_t f(int32_t a, int32_t b), cdecl, EBP frame, callee-saved registers kept. Index = mailbox slot. */
struct bf_function {
    char name[32];
    int32_t arguments[2];       /* default arguments */
    int32_t expected;           /* result for the default arguments; follows last_result when none is known */
    uint32_t provider;          /* enum bf_provider: who makes its tiers inside the guest */
    bf_ptr slot;                /* the published code pointer: jit_function_entry_t.current_code */
    bf_ptr bitcode;             /* bitcode_header_t (128 bytes) followed by the payload, 0 = none */
    uint32_t bitcode_size;      /* bytes of header and payload */
    bf_ptr symbols;             /* struct bf_symbol[symbol_count]: the data that all versions share */
    uint32_t symbol_count;
    uint32_t profiler_id;       /* index into function_profiler_t.functions */
    uint32_t module;            /* index into module_manager_t.modules, 0xFFFFFFFF = none */
    uint32_t version;           /* number of the published version */
    uint32_t level;             /* its level, 0..3 */
    int32_t last_result;
    uint64_t tsc_last_swap;
};

enum bf_version_state {
    BF_VERSION_NONE = 0,
    BF_VERSION_ALLOCATED = 1,
    BF_VERSION_EMITTED = 2,
    BF_VERSION_PUBLISHED = 3,
    BF_VERSION_RETIRED = 4,     /* replaced, its code still in the pool */
    BF_VERSION_FREED = 5
};

enum bf_reason {
    BF_REASON_NONE = 0,
    BF_REASON_INITIAL = 1,          /* first version of a function */
    BF_REASON_THRESHOLD = 2,        /* the call count reached a threshold */
    BF_REASON_HOST_ASKED = 3,       /* the doorbell */
    BF_REASON_FORCED = 4,           /* control word: force a level */
    BF_REASON_ROLLBACK = 5,         /* control word: roll back to a version */
    BF_REASON_VETOED = 6,           /* control word: no swap of this function */
    BF_REASON_NO_MEMORY = 7,        /* pool exhausted */
    BF_REASON_BAD_CRC = 8,          /* a staged segment differs from its CRC */
    BF_REASON_BAD_BOUNDS = 9,       /* a segment or entry outside what was allocated */
    BF_REASON_BAD_BITCODE = 10,     /* host: LLVM refused the bitcode */
    BF_REASON_LINK_FAILED = 11,     /* host: undefined symbol or unsupported relocation */
    BF_REASON_COMPILER_DIED = 12,   /* host: the worker process ended or timed out */
    BF_REASON_NO_BITCODE = 13,      /* the function has none */
    BF_REASON_CANCELLED = 14,
    BF_REASON_EMBEDDED = 15,        /* module sources */
    BF_REASON_CACHE = 16,
    BF_REASON_DISK = 17,
    BF_REASON_EVICTED = 18,
    BF_REASON_REPLACED = 19,        /* retired because a newer version was published */
    BF_REASON_APPLICATION = 20,     /* the application asked for the level; since 1.2 */
    BF_REASON_DIFFERS = 21,         /* host: the new code does not do what the published code does; since 1.3 */
    BF_REASON_NOT_EXECUTABLE = 22   /* its code has instructions that the CPU has not, or does not name; since 1.4 */
};

/* Record number n of version_table is any; search by `number`. Numbers start at 1 and are never reused. */
struct bf_version {
    uint32_t number;
    uint16_t function;          /* index into the function table */
    uint8_t level;
    uint8_t state;              /* enum bf_version_state */
    bf_ptr code;
    uint32_t code_size;
    uint32_t code_crc;
    bf_ptr rodata;
    uint32_t rodata_size;
    bf_ptr entry;
    uint64_t tsc_published;
    uint64_t tsc_first;         /* first execution, 0 = not yet */
    uint64_t tsc_retired;
    uint16_t reason;            /* enum bf_reason: why it was made */
    uint8_t provider;           /* enum bf_provider */
    uint8_t features;           /* enum bf_feature bits that its code needs; since 1.4, 0 before */
    uint32_t same_as;           /* number of an older version of the function with equal code bytes, else 0 */
};

/* What a threshold knew when it asked for a version; all 0 for versions that no threshold asked for. */
struct bf_version_cause {
    uint64_t calls;             /* of the function */
    uint64_t tsc;
};

/*
 * What the calls of a version took, as the dispatcher measured it: every call at first, and whenever `cycles` is full
 * every second of the samples stays and one of twice as many calls is taken.
 */
struct bf_version_cost {
    uint64_t since;             /* running: calls of the function before this version began to run, the last time */
    uint32_t calls;             /* of this version, without those since then */
    uint32_t running;           /* 1 = the function's last call was one of this version */
    uint32_t every;             /* one of so many calls is a sample */
    uint32_t taken;             /* samples in use */
    uint32_t cycles[BF_COST_SAMPLES];
};

/* ---- Pool block table, in the METADATA pool ------------------------------------------------------------------- */
#define BF_BLOCKS_MAGIC 0x4B4C4642

enum bf_pool_kind {
    BF_POOL_CODE = 0,
    BF_POOL_DATA = 1,
    BF_POOL_METADATA = 2
};

enum bf_block_state {
    BF_BLOCK_NONE = 0,          /* this record is free */
    BF_BLOCK_FREE = 1,
    BF_BLOCK_USED = 2
};

enum bf_owner_kind {
    BF_OWNER_NONE = 0,
    BF_OWNER_VERSION = 1,       /* owner = version number */
    BF_OWNER_MODULE = 2,        /* owner = module index: code or shared data of a module */
    BF_OWNER_TABLE = 3,         /* this block table */
    BF_OWNER_CACHE = 4,         /* owner = cache record */
    BF_OWNER_TEST = 5,          /* pool self-tests */
    BF_OWNER_FILE = 6           /* owner = module index: its image or bitcode, read from the disk */
};

struct bf_block {
    bf_ptr address;             /* of the block header; the payload begins 16 bytes later */
    uint32_t size;              /* payload bytes */
    uint32_t owner;
    uint8_t pool;               /* enum bf_pool_kind */
    uint8_t state;              /* enum bf_block_state */
    uint8_t owner_kind;         /* enum bf_owner_kind */
    uint8_t padding;
};

struct bf_block_table {
    uint32_t magic;             /* BF_BLOCKS_MAGIC, "BFLK" */
    uint32_t capacity;          /* records allocated, at most BF_MAX_BLOCKS */
    uint32_t count;             /* records in use: blocks[0..count), in no order */
    uint32_t lost;              /* blocks that found no record */
    bf_ptr blocks;              /* struct bf_block[capacity] */
};

/* ---- Event rings ------------------------------------------------------------------------------------------------ */
#define BF_RING_MAGIC 0x474E5242
#define BF_RING_VERSION 1
#define BF_HEARTBEAT_DEAD_MS 500

enum bf_ring_mode {
    BF_RING_OFF = 0,
    BF_RING_FLIGHT = 1,         /* overwrite the oldest */
    BF_RING_LOSSLESS = 2        /* wait for the reader, unless its heartbeat is older than BF_HEARTBEAT_DEAD_MS */
};

/* Bit n of bf_ring_header.type_mask enables type n. Arguments: arg[0], arg[1], arg[2], arg[3]. */
enum bf_event_type {
    BF_EVENT_NONE = 0,
    BF_EVENT_BOOT = 1,              /* id stage */
    BF_EVENT_MODULE_LOAD = 2,       /* id module; code, size, reason */
    BF_EVENT_MODULE_UNLOAD = 3,     /* id module; code, size, reason */
    BF_EVENT_MODULE_OVERRIDE = 4,   /* id module; old code, new code, reason */
    BF_EVENT_MODULE_CALL = 5,       /* id module; result, cycles low, cycles high */
    BF_EVENT_POOL_ALLOC = 6,        /* id pool; payload address, size, owner, owner kind */
    BF_EVENT_POOL_FREE = 7,         /* id pool; payload address, size, owner, owner kind */
    BF_EVENT_POOL_FAIL = 8,         /* id pool; size asked, bytes free, reason */
    BF_EVENT_JIT_REGISTER = 9,      /* id function; slot, code, profiler id */
    BF_EVENT_THRESHOLD = 10,        /* id function; calls low, level from, level to, calls high */
    BF_EVENT_REQUEST = 11,          /* id function; level wanted, request number, code address, reason */
    BF_EVENT_COMPILE_BEGIN = 12,    /* id function; level, provider, request number */
    BF_EVENT_COMPILE_END = 13,      /* id function; level, provider, request number, reason (0 = done) */
    BF_EVENT_EMIT = 14,             /* id function; code, size, crc, version */
    BF_EVENT_PUBLISH = 15,          /* id function; slot, old entry, new entry, version << 8 | reason << 3 | level */
    BF_EVENT_FIRST_EXECUTION = 16,  /* id function; version, entry, calls low, calls high */
    BF_EVENT_RETIRE = 17,           /* id function; version, code, size, reason */
    BF_EVENT_FREE = 18,             /* id function; version, code, size, reason */
    BF_EVENT_ROLLBACK = 19,         /* id function; from version, to version */
    BF_EVENT_REJECT = 20,           /* id function; reason, request number, level */
    BF_EVENT_VETO = 21,             /* id function; level wanted, reason */
    BF_EVENT_EXCEPTION = 22,        /* id vector; eip, error code, cr2 */
    BF_EVENT_IRQ = 23,              /* id irq line; tick */
    BF_EVENT_CACHE = 24,            /* id module; slot, level, reason */
    BF_EVENT_DISK = 25,             /* id 0 read; lba, sectors, status */
    BF_EVENT_MAILBOX = 26,          /* id function; old state, new state, reason, request number */
    BF_EVENT_CONSOLE = 27,          /* id bytes; position in the log buffer */
    BF_EVENT_MARK = 28,             /* id and arguments are the emitter's own */
    BF_EVENT_LAYER = 29,            /* id layer; position */
    BF_EVENT_TOKEN = 30,            /* id answered; token, position */
    BF_EVENT_CALL = 31,             /* id function; version, a, b, result */
    BF_EVENT_POOL_SHRINK = 32,      /* id pool; payload address, size, size before */
    BF_EVENT_COUNTED = 33           /* id function; calls low, calls high, cycles low, cycles high */
};

/*
 * All but IRQ (23) and CALL (31). A mask has 32 bits: type 32 has that of type 0, which nobody writes. POOL_SHRINK (a
 * block was made smaller) is since 1.5. No kernel writes COUNTED: a recorder that looks at the profiler from outside does.
 */
#define BF_EVENT_DEFAULT_MASK 0x7F7FFFFF

struct bf_event {
    uint64_t tsc;
    uint32_t seq;               /* the value of head when it was written: 0, 1, 2, … mod 2^32 */
    uint8_t type;               /* enum bf_event_type */
    uint8_t cpu;
    uint16_t id;
    uint32_t arg[4];
};

/* One 4 KiB page. The guest writes the middle part, the reader the last; each has its own cache lines. */
struct bf_ring_header {
    uint32_t magic;             /* BF_RING_MAGIC, "BRNG" */
    uint32_t version;
    uint32_t capacity;          /* records, a power of two */
    uint32_t record_size;       /* 32 */
    bf_ptr records;
    uint32_t mode;              /* enum bf_ring_mode; a reader or debugger may set it */
    uint32_t type_mask;         /* a reader or debugger may set it */
    uint32_t ring;              /* index in bf_root.rings */
    uint32_t reserved0[8];
    uint32_t head;              /* @64: records ever written mod 2^32; index = head & (capacity - 1) */
    uint32_t dropped;           /* records overwritten before a live reader took them, in lossless mode */
    uint32_t waits;             /* times that the guest found the ring full */
    uint32_t reader_deaths;     /* times that the heartbeat was found dead */
    uint32_t reserved1[12];
    uint32_t tail;              /* @128: records taken by the reader */
    uint32_t heartbeat;         /* the reader counts it up at least every 50 ms */
    uint32_t reserved2[14];
};

/* ---- Mailbox: the host compiles, the guest installs ------------------------------------------------------------ */
#define BF_MAILBOX_MAGIC 0x584F424D
#define BF_ASK_BRINGS_BITCODE 0x100 /* in `ask`: the host has bitcode of its own; since 1.3 */

/* In brackets: who owns the state, that is, who alone may leave it. */
enum bf_mail_state {
    BF_MAIL_IDLE = 0,           /* [guest] */
    BF_MAIL_REQUESTED = 1,      /* [host]  */
    BF_MAIL_COMPILING = 2,      /* [host]  */
    BF_MAIL_READY = 3,          /* [guest] both segments are staged */
    BF_MAIL_NEED_MORE = 4,      /* [guest] need_code / need_rodata are set; leads back to requested */
    BF_MAIL_INSTALLED = 5,      /* [guest] goes on to idle at the next safe point */
    BF_MAIL_REJECTED = 6        /* [guest] likewise; the host sets it, with `reason`, when it cannot compile */
};

enum bf_control {
    BF_CONTROL_ALLOW = 0,
    BF_CONTROL_VETO = 1,        /* no swap of this function */
    BF_CONTROL_FORCE = 2,       /* control_argument = level; becomes ALLOW when done, or refused with `refusal` */
    BF_CONTROL_ROLLBACK = 3     /* control_argument = version number; becomes VETO likewise */
};

/* How far the swap of a function is. Each is entered before the guest goes on to the next. */
enum bf_swap_phase {
    BF_PHASE_NONE = 0,
    BF_PHASE_REQUESTED = 1,     /* a level is asked for */
    BF_PHASE_COMPILED = 2,      /* its code is there: made at build time, by the micro-JIT, or staged by the host */
    BF_PHASE_COPIED = 3,        /* it stands in the CODE pool, and its version is emitted */
    BF_PHASE_ABOUT_TO_PUBLISH = 4, /* the publishing store comes next */
    BF_PHASE_PUBLISHED = 5,     /* the store is made, and the records tell of it */
    BF_PHASE_OLD_VERSION_RETIRED = 6,   /* the version before is retired; the new one was not called yet */
    BF_PHASE_FIRST_CALL = 7     /* the new version is about to be called for the first time; over with the call */
};

struct bf_segment {
    uint32_t offset;            /* into this slot's staging area */
    bf_ptr address;             /* where it will run */
    uint32_t size;
    uint32_t crc;
};

/* 128 bytes; slot i belongs to function i; its staging area is BF_STAGING_BASE + i * BF_STAGING_SIZE. */
struct bf_mail_slot {
    uint32_t state;             /* enum bf_mail_state */
    uint32_t request;           /* number of the request, counts up per slot */
    uint32_t level_wanted;
    bf_ptr bitcode;             /* header and payload */
    uint32_t bitcode_size;
    uint32_t bitcode_level;
    bf_ptr code_address;        /* allocated before the request */
    uint32_t code_capacity;
    bf_ptr rodata_address;
    uint32_t rodata_capacity;
    uint32_t need_code;         /* host: bytes needed, with NEED_MORE */
    uint32_t need_rodata;
    uint32_t reason;            /* enum bf_reason of the last rejection */
    struct bf_segment code;
    struct bf_segment rodata;
    uint32_t entry_offset;      /* into the code segment */
    uint32_t level;             /* that the code was compiled at */
    uint32_t ask;               /* host: level + 1 to ask for, | BF_ASK_…, then the doorbell; the guest sets it to 0 */
    uint32_t control;           /* enum bf_control */
    uint32_t control_argument;
    uint32_t done_request;      /* the last request that ended … */
    uint32_t done_state;        /* … as BF_MAIL_INSTALLED or BF_MAIL_REJECTED */
    uint32_t done_reason;
    uint32_t done_version;      /* version number installed */
    uint32_t requested_by;      /* enum bf_reason of the request; since 1.2, 0 before */
    uint8_t phase;              /* enum bf_swap_phase of the function's swap under way; since 1.3, 0 before */
    uint8_t phase_level;        /* the level that it leads to */
    uint8_t refusal;            /* enum bf_reason: why the last swap came to nothing; since 1.3, 0 before */
    uint8_t features;           /* host: enum bf_feature bits that the staged code needs; since 1.4, 0 before */
};

enum bf_module_action {
    BF_MODULE_NOTHING = 0,
    BF_MODULE_LOAD = 1,         /* the staged image, checked as at boot */
    BF_MODULE_UNLOAD = 2,       /* the named module, which has no function of the adaptive JIT */
    BF_MODULE_RELOAD = 3,       /* the staged image in the place of the loaded module of its name */
    BF_MODULE_REGISTER = 4      /* the named module becomes a function of the adaptive JIT */
};

/*
 * What the host asks about modules. It writes image and size, or the name, then `action`, then the doorbell. The guest
 * copies the image before it looks at it, does it at a safe point, writes what came of it, and sets `action` to 0.
 */
struct bf_module_order {
    uint32_t action;            /* enum bf_module_action */
    bf_ptr staging;
    uint32_t staging_size;
    uint32_t size;              /* host: bytes of the image */
    char name[32];              /* host: the module to unload or to register; guest: the one that it was about */
    uint32_t orders;            /* guest: orders that it ended, ever */
    uint32_t refused;           /* guest: 1 = the last one was refused ... */
    char why[96];               /* ... for this */
    uint32_t module;            /* guest: index in the module manager, 0xFFFFFFFF = none */
    uint32_t function;          /* guest: its function, 0xFFFFFFFF = none */
    uint32_t version;           /* guest: the version that was published by it, 0 = none */
};

struct bf_mailbox {
    uint32_t magic;             /* BF_MAILBOX_MAGIC, "MBOX" */
    uint32_t slot_count;
    uint32_t slot_size;
    bf_ptr slots;               /* struct bf_mail_slot[slot_count] */
    bf_ptr staging;
    uint32_t staging_size;      /* bytes per slot */
    uint32_t doorbell;          /* host: 1 = look at the `ask` and `control` words; the guest sets it to 0 */
    struct bf_module_order module;  /* since 1.4: behind the header of an older kernel there is nothing */
};

/* ---- Exception record -------------------------------------------------------------------------------------------- */
#define BF_EXCEPTION_MAGIC 0x43584642

struct bf_exception {
    uint32_t magic;             /* BF_EXCEPTION_MAGIC, "BFXC" */
    uint32_t count;             /* exceptions ever taken; 0 = the rest is empty */
    uint32_t vector;
    uint32_t error_code;
    uint32_t eip;
    uint32_t cs;
    uint32_t eflags;
    uint32_t eax;
    uint32_t ecx;
    uint32_t edx;
    uint32_t ebx;
    uint32_t esp;
    uint32_t ebp;
    uint32_t esi;
    uint32_t edi;
    uint32_t cr0;
    uint32_t cr2;
    uint32_t cr3;
    uint32_t cr4;
    uint64_t tsc;
    uint8_t code[16];           /* bytes at eip */
};

/* ---- Log buffer: everything that was printed on COM1 ------------------------------------------------------------- */
#define BF_LOG_MAGIC 0x474F4C42
#define BF_LOG_BYTES 16384

struct bf_log {
    uint32_t magic;             /* BF_LOG_MAGIC, "BLOG" */
    uint32_t capacity;          /* bytes of `text`, a power of two */
    uint32_t written;           /* bytes ever written mod 2^32; index = written & (capacity - 1) */
    bf_ptr text;
};

/* ---- Module image, header version 2 (module_header_t is in stock_kernel.h) --------------------------------------- */
/*
 * 48-byte header (magic "BDOM", version 2, entry_point = 0x30 + offset of the entry, code_size) · code_size bytes ·
 * u32 bss_size · u32 n · n × u32 relocation · SHA-256 of all that precedes.
 * The last bytes of the code_size bytes are struct bf_module_tail, preceded by its symbol table. The tail says which part is code, read-only
 * data, writable data. Code goes to the CODE pool, the rest to the DATA pool (a store into a page with translated
 * code is slow), the writable data once per module, whatever tier comes later.
 * A relocation: bits 0..29 offset into the code_size bytes of a word to add a base to; bits 30..31 which base.
 */
#define BF_MODULE_TAIL_MAGIC 0x4C544D42
#define BF_RELOC_OFFSET_MASK 0x3FFFFFFF
#define BF_RELOC_BASE_SHIFT 30

enum bf_reloc_base {
    BF_RELOC_CODE = 0,
    BF_RELOC_DATA = 1,          /* the module's one writable data area: .data then .bss */
    BF_RELOC_RODATA = 2
};

/* Offsets are into the code_size bytes. Symbol table: struct bf_symbol with address = offset into the data area. */
struct bf_module_tail {
    uint32_t code_size;         /* code is at offset 0 */
    uint32_t rodata_offset;
    uint32_t rodata_size;
    uint32_t data_offset;
    uint32_t data_size;         /* initialised part; bss_size zero bytes follow it in memory */
    uint32_t symbols_offset;
    uint16_t symbol_count;
    uint8_t tier;               /* its level + 1; 0 = an older image, which does not say */
    uint8_t reserved;
    uint32_t magic;             /* BF_MODULE_TAIL_MAGIC, "BMTL" */
};

/*
 * How the run calls a module that is not embedded. Since 1.1, and not in every image: it lies behind the symbol table
 * and directly before the tail.
 */
#define BF_MODULE_CALL_MAGIC 0x4C434D42

struct bf_module_call {
    int32_t arguments[2];
    int32_t expected;           /* the result for them … */
    uint32_t expected_known;    /* … when this is 1 */
    uint32_t magic;             /* BF_MODULE_CALL_MAGIC, "BMCL" */
};

/* Where a loaded module came from and where its parts went, so that a debugger finds its header again. */
struct bf_module_image {
    bf_ptr image;               /* module_header_t of the image it was loaded from, 0 = not kept in memory */
    uint32_t image_size;        /* bytes, header to SHA-256 */
    uint32_t level;             /* 0..3 */
    uint32_t source;            /* enum bf_reason: EMBEDDED, CACHE or DISK; since 1.4 HOST_ASKED */
    bf_ptr code;
    uint32_t code_size;
    bf_ptr rodata;
    uint32_t rodata_size;
    bf_ptr data;                /* .data then .bss, shared by all tiers */
    uint32_t data_size;
    bf_ptr entry;
    uint32_t reserved[5];
};

/* ---- Cache of module images in the DATA pool ---------------------------------------------------------------------- */
#define BF_CACHE_SLOTS 16

struct bf_cache_slot {
    char name[32];
    uint32_t level;
    bf_ptr image;
    uint32_t image_size;
    uint32_t state;             /* 0 empty, 1 filled, 2 its version is published */
    uint64_t tsc_last_used;
};

struct bf_cache {
    uint32_t slot_count;
    uint32_t hits;
    uint32_t misses;
    uint32_t evictions;
    struct bf_cache_slot slots[16];
    /* Since 1.2: as they were when it left. Both are empty as long as each eviction took the least recently used. */
    struct bf_cache_slot left_early;    /* was published, or used later than ... */
    struct bf_cache_slot older;         /* ... this one, which was free to leave and stayed */
};

#endif
