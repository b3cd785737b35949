/* What does the model say to a text? The likeliest token, again and again. */
#include "answer.h"

#include "crc.h"

bool answer_init(struct answer *answer, struct network *network, const struct vocabulary *words, struct arena *arena) {
    uint32_t room = MOST_TEXT + network->positions;

    *answer = (struct answer){.network = network, .words = words, .ids = arena_take(arena, room * sizeof(uint32_t))};
    return answer->ids != NULL;
}

static bool append(struct answer *answer, const uint32_t *ids, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (answer->text_count == MOST_TEXT)
            return false;
        answer->ids[answer->text_count++] = ids[i];
    }
    return true;
}

/* The tokens of what was said. */
static bool read_text(struct answer *answer, const char *text, uint32_t bytes) {
    const struct packed *model = answer->network->model;
    const struct bf_model_header *head = model->head;

    answer->text_count = answer->count = answer->logits_crc = 0;
    /* A chat's own words begin with it. */
    if (!answer->chat && head->add_bos == 1 && head->bos < head->vocabulary && !append(answer, &head->bos, 1))
        return false;
    return (!answer->chat || append(answer, model->chat_before, model->chat_before_count)) &&
           vocabulary_encode(answer->words, text, bytes, !answer->chat, answer->ids, MOST_TEXT, &answer->text_count) &&
           (!answer->chat || append(answer, model->chat_after, model->chat_after_count)) && answer->text_count != 0;
}

enum answer_end answer(struct answer *answer, const char *text, uint32_t bytes) {
    struct network *network = answer->network;
    const struct bf_model_header *head = network->model->head;

    network_clear(network);
    if (!read_text(answer, text, bytes))
        return ANSWER_BAD_TEXT;
    for (uint32_t i = 0; i < answer->text_count; i++) {
        if (network->at == network->positions)
            return ANSWER_NO_ROOM;
        network_take(network, answer->ids[i]);
        if (!answer_told(answer))
            return ANSWER_INTERRUPTED;
    }
    while (answer->count < answer->wanted) {
        uint32_t token = network_next(network);
        answer->logits_crc = crc32_more(answer->logits_crc, network->logits, head->vocabulary * sizeof(float));
        if (token == head->eos)
            return ANSWER_STOPPED;
        answer->ids[answer->text_count + answer->count++] = token;
        if (!answer_told(answer))
            return ANSWER_INTERRUPTED;
        if (answer->count == answer->wanted)
            break;
        if (network->at == network->positions)
            return ANSWER_NO_ROOM;
        network_take(network, token);
    }
    return ANSWER_FULL;
}
