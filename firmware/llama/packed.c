/* Where is everything in a packed model, and can it be right? */
#include <stdbool.h>

#include "crc.h"
#include "packed.h"

#define MOST_LAYERS 256
#define MOST_SIZE (1u << 20)

static const char *check_head(const struct bf_model_header *head, uint32_t room) {
    static const uint8_t zeros[4];

    if (room < sizeof *head || head->magic != BF_MODEL_MAGIC)
        return "there is no packed model";
    if (head->version != BF_MODEL_VERSION)
        return "it is packed in another version; pack it again";
    if (head->file_bytes > room)
        return "it does not fit into memory; give the machine more (-m)";
    if (head->parts > BF_MODEL_MOST_PARTS ||
        sizeof *head + head->parts * sizeof(struct bf_model_part) > head->file_bytes)
        return "its head is damaged; pack it again";
    uint32_t at = offsetof(struct bf_model_header, crc), size = sizeof *head + head->parts * sizeof(struct bf_model_part);
    uint32_t crc = crc32_more(crc32_more(0, head, at), zeros, sizeof zeros);
    if (crc32_more(crc, (const uint8_t *)head + at + 4, size - at - 4) != head->crc)
        return "its head differs from its CRC; pack it again";
    return NULL;
}

static bool sizes_are_possible(const struct bf_model_header *head) {
    const uint32_t sizes[] = {head->dim, head->hidden, head->heads, head->kv_heads, head->head_size, head->vocabulary,
                              head->positions};

    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] == 0 || sizes[i] > MOST_SIZE)
            return false;
    return head->layers > 0 && head->layers <= MOST_LAYERS && head->heads % head->kv_heads == 0 &&
           head->head_size % 2 == 0 && (uint64_t)head->heads * head->head_size <= MOST_SIZE;
}

static const struct bf_model_part *find(const struct packed *model, uint32_t kind, uint32_t layer) {
    for (uint32_t i = 0; i < model->head->parts; i++)
        if (model->parts[i].kind == kind && model->parts[i].layer == layer)
            return &model->parts[i];
    return NULL;
}

static const void *bytes_of(const struct packed *model, const struct bf_model_part *part) {
    return (const uint8_t *)model->head + part->offset;
}

static bool parts_are_inside(const struct packed *model) {
    for (uint32_t i = 0; i < model->head->parts; i++) {
        const struct bf_model_part *part = &model->parts[i];
        if (part->offset % BF_MODEL_ALIGN != 0 || part->offset > model->head->file_bytes ||
            part->bytes > model->head->file_bytes - part->offset)
            return false;
    }
    return true;
}

static bool matrix(const struct packed *model, uint32_t kind, uint32_t layer, uint32_t rows, uint32_t columns,
                   struct matrix *found) {
    const struct bf_model_part *part = find(model, kind, layer);

    if (part == NULL || part->rows != rows || part->columns != columns || part->planes < 1 || part->planes > 2)
        return false;
    uint32_t groups = (columns + BF_MODEL_GROUP_COLUMNS - 1) / BF_MODEL_GROUP_COLUMNS;
    uint32_t tiles = (rows + BF_MODEL_TILE_ROWS - 1) / BF_MODEL_TILE_ROWS;
    uint64_t bytes = (uint64_t)tiles * groups * part->planes * BF_MODEL_GROUP_BYTES;
    if (bytes + tiles * BF_MODEL_TILE_ROWS * sizeof(float) != part->bytes)
        return false;
    const uint8_t *at = bytes_of(model, part);
    *found = (struct matrix){at, (const float *)(at + bytes), rows, columns, groups, part->planes};
    return true;
}

static bool floats(const struct packed *model, uint32_t kind, uint32_t layer, uint64_t count, const float **found) {
    const struct bf_model_part *part = find(model, kind, layer);

    if (part == NULL || part->bytes != count * sizeof(float))
        return false;
    *found = bytes_of(model, part);
    return true;
}

static bool find_layer(const struct packed *model, uint32_t number, struct layer *layer) {
    const struct bf_model_header *head = model->head;
    uint32_t dim = head->dim, query = head->heads * head->head_size, kv = head->kv_heads * head->head_size;

    return floats(model, BF_MODEL_ATTN_NORM, number, dim, &layer->attn_norm) &&
           matrix(model, BF_MODEL_ATTN_Q, number, query, dim, &layer->q) &&
           matrix(model, BF_MODEL_ATTN_K, number, kv, dim, &layer->k) &&
           matrix(model, BF_MODEL_ATTN_V, number, kv, dim, &layer->v) &&
           matrix(model, BF_MODEL_ATTN_OUTPUT, number, dim, query, &layer->output) &&
           floats(model, BF_MODEL_FFN_NORM, number, dim, &layer->ffn_norm) &&
           matrix(model, BF_MODEL_FFN_GATE, number, head->hidden, dim, &layer->gate) &&
           matrix(model, BF_MODEL_FFN_UP, number, head->hidden, dim, &layer->up) &&
           matrix(model, BF_MODEL_FFN_DOWN, number, dim, head->hidden, &layer->down);
}

static bool find_tensors(struct packed *model) {
    const struct bf_model_header *head = model->head;

    for (uint32_t i = 0; i < head->layers; i++)
        if (!find_layer(model, i, &model->layers[i]))
            return false;
    return matrix(model, BF_MODEL_TOKEN_EMBD, 0, head->vocabulary, head->dim, &model->embedding) &&
           matrix(model, head->tied ? BF_MODEL_TOKEN_EMBD : BF_MODEL_OUTPUT, 0, head->vocabulary, head->dim,
                  &model->output) &&
           floats(model, BF_MODEL_OUTPUT_NORM, 0, head->dim, &model->output_norm) &&
           floats(model, BF_MODEL_ROPE, 0, (uint64_t)head->positions * head->head_size, &model->turns);
}

/* A list of tokens, when there is one. */
static bool find_ids(const struct packed *model, uint32_t kind, const uint32_t **ids, uint32_t *count) {
    const struct bf_model_part *part = find(model, kind, 0);

    *ids = NULL;
    *count = 0;
    if (part == NULL)
        return true;
    *ids = bytes_of(model, part);
    *count = part->bytes / sizeof **ids;
    for (uint32_t i = 0; i < *count; i++)
        if ((*ids)[i] >= model->head->vocabulary)
            return false;
    return true;
}

static bool find_merges(struct packed *model) {
    const struct bf_model_part *part = find(model, BF_MODEL_MERGES, 0);

    if (part == NULL)
        return false;
    model->merges = bytes_of(model, part);
    model->merge_count = part->bytes / sizeof *model->merges;
    for (uint32_t i = 0; i < model->merge_count; i++)
        if (model->merges[i].joined >= model->head->vocabulary)
            return false;
    return true;
}

static bool find_tokens(struct packed *model) {
    const struct bf_model_part *ends = find(model, BF_MODEL_TOKEN_ENDS, 0);
    const struct bf_model_part *types = find(model, BF_MODEL_TOKEN_TYPES, 0);
    const struct bf_model_part *text = find(model, BF_MODEL_TOKEN_TEXT, 0);
    uint32_t count = model->head->vocabulary, last = 0;

    if (model->head->pieces == BF_MODEL_PIECES_NONE)
        return true;
    if (ends == NULL || types == NULL || text == NULL || ends->bytes != count * sizeof last || types->bytes != count)
        return false;
    model->token_ends = bytes_of(model, ends);
    model->token_types = bytes_of(model, types);
    model->token_text = bytes_of(model, text);
    for (uint32_t i = 0; i < count; last = model->token_ends[i++])
        if (model->token_ends[i] < last || model->token_ends[i] > text->bytes)
            return false;
    return find_merges(model) &&
           find_ids(model, BF_MODEL_CHAT_BEFORE, &model->chat_before, &model->chat_before_count) &&
           find_ids(model, BF_MODEL_CHAT_AFTER, &model->chat_after, &model->chat_after_count);
}

const char *packed_open(struct packed *model, const void *base, uint32_t room, struct arena *arena) {
    const struct bf_model_header *head = base;
    const char *wrong = check_head(head, room);

    if (wrong != NULL)
        return wrong;
    *model = (struct packed){.head = head, .parts = (const struct bf_model_part *)(head + 1)};
    if (!sizes_are_possible(head) || !parts_are_inside(model))
        return "its head is damaged; pack it again";
    model->layers = arena_take(arena, head->layers * sizeof *model->layers);
    if (model->layers == NULL)
        return "there is no memory left; give the machine more (-m)";
    if (!find_tensors(model))
        return "its tensors are not those that its sizes ask for; pack it again";
    return find_tokens(model) ? NULL : "its tokens are damaged; pack it again";
}

const struct bf_model_part *packed_damaged(const struct packed *model) {
    for (uint32_t i = 0; i < model->head->parts; i++)
        if (crc32_more(0, bytes_of(model, &model->parts[i]), model->parts[i].bytes) != model->parts[i].crc)
            return &model->parts[i];
    return NULL;
}
