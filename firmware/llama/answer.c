/* What does the model say to a text? The likeliest token, or one drawn by its share, again and again. */
#include "answer.h"

#include "crc.h"

bool answer_init(struct answer *answer, struct network *network, const struct vocabulary *words, struct arena *arena) {
    uint32_t room = MOST_TEXT + network->told.positions;

    *answer = (struct answer){.network = network, .words = words, .ids = arena_take(arena, room * sizeof(uint32_t))};
    network->told.ids = (bf_ptr)answer->ids;
    return answer->ids != NULL;
}

static bool append(struct answer *answer, const uint32_t *ids, uint32_t count) {
    uint32_t *there = &answer->network->told.text_count;

    for (uint32_t i = 0; i < count; i++) {
        if (*there == MOST_TEXT)
            return false;
        answer->ids[(*there)++] = ids[i];
    }
    return true;
}

/* The tokens of what was said. */
static bool read_text(struct answer *answer, const char *text, uint32_t bytes) {
    const struct packed *model = answer->network->model;
    const struct bf_model_header *head = model->head;
    struct bf_inference *told = &answer->network->told;

    told->text_count = told->count = told->logits_crc = 0;
    /* A chat's own words begin with it. */
    if (!answer->chat && head->add_bos == 1 && head->bos < head->vocabulary && !append(answer, &head->bos, 1))
        return false;
    return (!answer->chat || append(answer, model->chat_before, model->chat_before_count)) &&
           vocabulary_encode(answer->words, text, bytes, !answer->chat, answer->ids, MOST_TEXT, &told->text_count) &&
           (!answer->chat || append(answer, model->chat_after, model->chat_after_count)) && told->text_count != 0;
}

/* A number for each token of the answer: murmur3's finaliser, twice. */
static uint32_t random_number(uint32_t seed, uint32_t index) {
    uint32_t x = seed;

    for (uint32_t i = 0; i < 2; i++) {
        x += 0x9E3779B9u * (index + 1);
        x = (x ^ x >> 16) * 0x85EBCA6Bu;
        x = (x ^ x >> 13) * 0xC2B2AE35u;
        x ^= x >> 16;
    }
    return x;
}

static uint32_t choose(struct network *network) {
    const struct bf_inference *told = &network->told;
    uint32_t token = network_next(network);

    return told->temperature == 0 ? token : network_draw(network, token, random_number(told->seed, told->count));
}

enum bf_answer_end answer(struct answer *answer, const char *text, uint32_t bytes) {
    struct network *network = answer->network;
    struct bf_inference *told = &network->told;
    const struct bf_model_header *head = network->model->head;

    network_clear(network);
    told->end = BF_END_NONE;
    if (!read_text(answer, text, bytes))
        return BF_END_BAD_TEXT;
    told->state = BF_INFERENCE_READING;
    for (uint32_t i = 0; i < told->text_count; i++) {
        if (told->position == told->positions)
            return BF_END_NO_ROOM;
        network_take(network, answer->ids[i]);
        if (!answer_told(answer))
            return BF_END_INTERRUPTED;
    }
    told->state = BF_INFERENCE_ANSWERING;
    while (told->count < told->wanted) {
        uint32_t token = choose(network);
        told->logits_crc = crc32_more(told->logits_crc, network->logits, head->vocabulary * sizeof(float));
        if (token == head->eos)
            return BF_END_STOPPED;
        answer->ids[told->text_count + told->count] = token;
        told->count++;
        if (!answer_told(answer))
            return BF_END_INTERRUPTED;
        if (told->count == told->wanted)
            break;
        if (told->position == told->positions)
            return BF_END_NO_ROOM;
        network_take(network, token);
    }
    return BF_END_FULL;
}
