/* Which tokens are a text, and which text is a token? The same as bareflow_gdb/model/vocabulary.py. */
#include "vocabulary.h"

#include "pieces.h"

static const char *text_of(const struct packed *model, uint32_t token, uint32_t *bytes) {
    uint32_t begin = token == 0 ? 0 : model->token_ends[token - 1];

    *bytes = model->token_ends[token] - begin;
    return model->token_text + begin;
}

const char *vocabulary_text(const struct packed *model, uint32_t token, uint32_t *bytes) {
    const char *text = text_of(model, token, bytes);

    if (model->token_types[token] == BF_MODEL_TOKEN_SPECIAL)
        *bytes = 0;
    return text;
}

bool vocabulary_init(struct vocabulary *words, const struct packed *model, struct arena *arena) {
    uint32_t bytes;

    *words = (struct vocabulary){.model = model};
    for (uint32_t i = 0; i < 256; i++)
        words->of_byte[i] = NOT_A_TOKEN;
    if (model->token_ends == NULL)
        return false;
    for (uint32_t token = 0; token < model->head->vocabulary; token++)
        words->whole_count += model->token_types[token] != BF_MODEL_TOKEN_NORMAL;
    words->whole = arena_take(arena, words->whole_count * sizeof *words->whole);
    if (words->whole == NULL)
        return false;
    words->whole_count = 0;
    for (uint32_t token = 0; token < model->head->vocabulary; token++) {
        const uint8_t *text = (const uint8_t *)text_of(model, token, &bytes);
        if (model->token_types[token] != BF_MODEL_TOKEN_NORMAL) {
            if (bytes != 0)
                words->whole[words->whole_count++] = token;
        } else if (bytes == 1 && words->of_byte[*text] == NOT_A_TOKEN) {
            words->of_byte[*text] = token;
        }
    }
    return true;
}

static bool begins_with(const char *text, uint32_t bytes, const char *with, uint32_t size) {
    if (size > bytes)
        return false;
    for (uint32_t i = 0; i < size; i++)
        if (text[i] != with[i])
            return false;
    return true;
}

/* The longest whole token that begins here, of equal ones the last. */
static uint32_t whole_at(const struct vocabulary *words, const char *text, uint32_t bytes, uint32_t *size) {
    uint32_t found = NOT_A_TOKEN, length;

    *size = 0;
    for (uint32_t i = 0; i < words->whole_count; i++) {
        const char *of = text_of(words->model, words->whole[i], &length);
        if (length >= *size && begins_with(text, bytes, of, length)) {
            found = words->whole[i];
            *size = length;
        }
    }
    return found;
}

static const struct bf_model_merge *merge_of(const struct packed *model, uint32_t left, uint32_t right) {
    uint32_t low = 0, high = model->merge_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct bf_model_merge *merge = &model->merges[middle];
        if (merge->left == left && merge->right == right)
            return merge;
        if (merge->left < left || (merge->left == left && merge->right < right))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Merges in place: again and again all pairs of the smallest rank, from the left. How many tokens remain. */
static uint32_t merged(const struct packed *model, uint32_t *ids, uint32_t count) {
    for (;;) {
        const struct bf_model_merge *best = NULL;
        for (uint32_t i = 0; i + 1 < count; i++) {
            const struct bf_model_merge *merge = merge_of(model, ids[i], ids[i + 1]);
            if (merge != NULL && (best == NULL || merge->rank < best->rank))
                best = merge;
        }
        if (best == NULL)
            return count;
        uint32_t made = 0;
        for (uint32_t i = 0; i < count; i++, made++) {
            bool both = i + 1 < count && ids[i] == best->left && ids[i + 1] == best->right;
            ids[made] = both ? best->joined : ids[i];
            i += both;
        }
        count = made;
    }
}

static bool encode_plain(const struct vocabulary *words, const char *text, uint32_t bytes, uint32_t *ids,
                         uint32_t room, uint32_t *count) {
    bool digits = words->model->head->pieces == BF_MODEL_PIECES_DIGITS;

    for (uint32_t at = 0, end; at < bytes; at = end) {
        end = piece_end(text, at, bytes, digits);
        if (end - at > room - *count)
            return false;
        for (uint32_t i = at; i < end; i++)
            if ((ids[*count + i - at] = words->of_byte[(uint8_t)text[i]]) == NOT_A_TOKEN)
                return false;
        *count += merged(words->model, ids + *count, end - at);
    }
    return true;
}

bool vocabulary_encode(const struct vocabulary *words, const char *text, uint32_t bytes, bool whole, uint32_t *ids,
                       uint32_t room, uint32_t *count) {
    uint32_t begin = 0, size;

    for (uint32_t at = 0; whole && at < bytes;) {
        uint32_t token = whole_at(words, text + at, bytes - at, &size);
        if (token == NOT_A_TOKEN) {
            at++;
            continue;
        }
        if (!encode_plain(words, text + begin, at - begin, ids, room, count) || *count == room)
            return false;
        ids[(*count)++] = token;
        begin = at += size;
    }
    return encode_plain(words, text + begin, bytes - begin, ids, room, count);
}
