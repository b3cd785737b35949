/*
 * A packed language model: one file that the guest uses in place, as it was loaded. docs/model-format.md explains it.
 *
 * Header, then `parts` part records, then the parts, each at a multiple of BF_MODEL_ALIGN. Little-endian; text is ASCII
 * and ends in NULs. Every CRC is CRC-32 as in zlib.
 */
#ifndef BF_MODEL_H
#define BF_MODEL_H

#define BF_MODEL_MAGIC 0x4C4D4642u      /* "BFML" */
#define BF_MODEL_VERSION 1
#define BF_MODEL_ALIGN 64
#define BF_MODEL_MOST_PARTS 4096
#define BF_MODEL_MOST_BYTES 0x7FFFFFFFu /* a file of a FAT16 volume, and less than half of the addresses */
#define BF_MODEL_NONE 0xFFFFFFFFu       /* no such token */

/* A tile is 16 rows, a group 32 columns of them: 8 vectors of nibbles, then 16 scales and 16 minima, all 16 bits wide. */
#define BF_MODEL_TILE_ROWS 16
#define BF_MODEL_GROUP_COLUMNS 32
#define BF_MODEL_GROUP_BYTES 320
#define BF_MODEL_GROUP_VECTORS 8
#define BF_MODEL_MOST_SCALE 16383       /* the absolute value of a scale, a minimum and an activation's scale */
#define BF_MODEL_FULL_GROUPS 64         /* a row of more groups has smaller scales: no sum passes 31 bits */

enum bf_model_kind {
    BF_MODEL_ROPE = 1,          /* float [positions][head_size / 2][cosine, sine] */
    BF_MODEL_TOKEN_ENDS,        /* uint32_t [vocabulary]: where each token's text ends in BF_MODEL_TOKEN_TEXT */
    BF_MODEL_TOKEN_TEXT,        /* the texts, as the bytes that are printed */
    BF_MODEL_TOKEN_TYPES,       /* uint8_t [vocabulary]: enum bf_model_token */
    BF_MODEL_MERGES,            /* struct bf_model_merge [], ordered by left, then right */
    BF_MODEL_CHAT_BEFORE,       /* uint32_t []: the tokens before what a person says */
    BF_MODEL_CHAT_AFTER,        /* uint32_t []: and after it */
    BF_MODEL_TOKEN_EMBD,        /* matrices are tiles, then a float for each row; vectors are floats */
    BF_MODEL_ATTN_NORM,
    BF_MODEL_ATTN_Q,
    BF_MODEL_ATTN_K,
    BF_MODEL_ATTN_V,
    BF_MODEL_ATTN_OUTPUT,
    BF_MODEL_FFN_NORM,
    BF_MODEL_FFN_GATE,
    BF_MODEL_FFN_UP,
    BF_MODEL_FFN_DOWN,
    BF_MODEL_OUTPUT_NORM,
    BF_MODEL_OUTPUT             /* not there when the embedding is used (tied) */
};

enum bf_model_token {
    BF_MODEL_TOKEN_NORMAL = 1,
    BF_MODEL_TOKEN_SPECIAL = 2, /* found in text as a whole, printed as nothing */
    BF_MODEL_TOKEN_WHOLE = 3    /* found in text as a whole, printed as it is */
};

enum bf_model_pieces {
    BF_MODEL_PIECES_NONE = 0,   /* the file has no tokens */
    BF_MODEL_PIECES_GPT2 = 1,
    BF_MODEL_PIECES_DIGITS = 2  /* digits one by one, the rest as GPT-2 */
};

struct bf_model_header {
    uint32_t magic;
    uint32_t version;
    uint32_t crc;               /* of header and part records, this word taken as 0 */
    uint32_t parts;
    uint32_t file_bytes;
    uint32_t dim;
    uint32_t hidden;
    uint32_t layers;
    uint32_t heads;
    uint32_t kv_heads;          /* of keys and values; divides heads */
    uint32_t head_size;
    uint32_t vocabulary;
    uint32_t context;           /* positions that the model was trained for */
    uint32_t positions;         /* positions that BF_MODEL_ROPE has: no text gets longer */
    float rope_base;
    float epsilon;              /* of the norms */
    uint32_t tied;              /* 1: the embedding is the output's matrix too */
    uint32_t pieces;            /* enum bf_model_pieces */
    uint32_t bos;               /* token ids, or BF_MODEL_NONE */
    uint32_t eos;
    uint32_t add_bos;           /* 1: every text begins with bos */
    uint32_t reserved[11];
    char name[64];
};

struct bf_model_part {
    char name[32];              /* as in GGUF: "blk.3.attn_q.weight" */
    uint32_t kind;              /* enum bf_model_kind */
    uint32_t layer;             /* 0 when it belongs to none */
    uint32_t offset;            /* in the file */
    uint32_t bytes;
    uint32_t crc;
    uint32_t rows;              /* 1 for a vector */
    uint32_t columns;
    uint32_t planes;            /* nibbles a weight: 1 or 2 in a matrix, 0 in what is no matrix */
};

struct bf_model_merge {
    uint32_t left;              /* token ids */
    uint32_t right;
    uint32_t rank;              /* the smallest goes first */
    uint32_t joined;
};

#endif
