/* Small jobs of made-up numbers; the results of each have memory of their own. */
#include "examples.h"

#include "bareflow.h"

#define ROWS 20                 /* of two tiles, the second one not full */
#define COLUMNS 64
#define GROUPS (COLUMNS / BF_MODEL_GROUP_COLUMNS)
#define PLANES 2
#define TILES 2
#define SEEN 3
#define HEAD_SIZE 8

static struct {
    uint8_t bytes[TILES * PLANES * GROUPS * BF_MODEL_GROUP_BYTES];
    float factors[TILES * BF_MODEL_TILE_ROWS];
} tiles __attribute__((aligned(BF_MODEL_ALIGN)));

/* All numbers; they change no more. */
static float numbers[4][COLUMNS];
static int16_t values[COLUMNS];
static int32_t scales[GROUPS], sums[GROUPS];
static float row[COLUMNS], normed[COLUMNS], product[ROWS], weights[SEEN], taken[2 * HEAD_SIZE];
/* What is changed in place. */
static float turned[COLUMNS], stream[COLUMNS], gate[COLUMNS];
/* The first is the largest. */
static float logits[COLUMNS];
static uint32_t shares[COLUMNS];
static int16_t made_values[COLUMNS];
static int32_t made_scales[GROUPS], made_sums[GROUPS];
static struct quantised vector = {values, scales, sums, 0.001f}, made = {made_values, made_scales, made_sums, 0};
static const struct matrix matrix = {tiles.bytes, tiles.factors, ROWS, COLUMNS, GROUPS, PLANES};

struct embed_job example_embed = {&matrix, ROWS - 1, row};
struct rmsnorm_job example_rmsnorm = {numbers[0], numbers[1], normed, COLUMNS, 1e-5f};
struct quantise_job example_quantise = {numbers[0], GROUPS, &made};
struct matmul_job example_matmul = {&matrix, &vector, product};
struct rope_job example_rope = {turned, numbers[1], COLUMNS / HEAD_SIZE, HEAD_SIZE};
struct attention_job example_attention = {numbers[0], numbers[1], numbers[2], weights, taken, 1, 2, HEAD_SIZE, SEEN};
struct add_job example_add = {stream, numbers[3], COLUMNS};
struct swiglu_job example_swiglu = {gate, numbers[3], COLUMNS};
struct argmax_job example_argmax = {numbers[2], COLUMNS, 0};
struct sample_job example_sample = {logits, shares, COLUMNS, BF_SAMPLE_ONE, BF_SAMPLE_ONE / 2, 0x40000000, 0, 0};

static uint32_t state;

static uint32_t number(void) {
    state = state * 1664525 + 1013904223;
    return state >> 8;
}

/* -2 to 2. */
static void fill(float *x, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        union {
            uint32_t bits;
            float value;
        } one = {.bits = (number() & 1) << 31 | 0x3F800000 | (number() & 0x7FFFFF)};
        x[i] = one.value;
    }
}

void examples_fill(void) {
    state = 1;
    for (uint32_t i = 0; i < sizeof tiles.bytes; i++)
        tiles.bytes[i] = (uint8_t)number();
    /* The high bytes of scales and minima: no larger than those of a model. */
    for (uint32_t i = 0; i < sizeof tiles.bytes; i++)
        if (i % BF_MODEL_GROUP_BYTES >= 256 && i % 2 == 1)
            tiles.bytes[i] = (uint8_t)((int32_t)(number() % 126) - 63);
    fill(tiles.factors, sizeof tiles.factors / sizeof tiles.factors[0]);
    for (uint32_t i = 0; i < 4; i++)
        fill(numbers[i], COLUMNS);
    for (uint32_t i = 0; i < COLUMNS; i++)
        values[i] = (int16_t)((int32_t)(number() % 255) - 127);
    for (uint32_t g = 0; g < GROUPS; g++) {
        int32_t sum = 0;
        scales[g] = (int32_t)(number() % BF_MODEL_MOST_SCALE);
        for (uint32_t i = 0; i < BF_MODEL_GROUP_COLUMNS; i++)
            sum += values[g * BF_MODEL_GROUP_COLUMNS + i];
        sums[g] = sum * scales[g] >> 10;
    }
    fill(turned, COLUMNS);
    fill(stream, COLUMNS);
    fill(gate, COLUMNS);
    fill(logits, COLUMNS);
    logits[0] = 2.0f;
}
