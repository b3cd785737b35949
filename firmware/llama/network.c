/* How does a Llama model go from a token to the logits of the next? The wiring; kernels compute. */
#include "network.h"

#define LEAST_POSITIONS 16

void (*network_layer_done)(const struct network *network);

static float *floats(struct arena *arena, uint32_t count) {
    uint32_t group = BF_MODEL_GROUP_COLUMNS;

    /* Whole groups: what is behind the last value stays zero. */
    return arena_take(arena, (uint64_t)(count + group - 1) / group * group * sizeof(float));
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static uint32_t kv_dim(const struct network *network) {
    return network->model->head->kv_heads * network->model->head->head_size;
}

static bool take_vector(struct quantised *vector, uint32_t columns, struct arena *arena) {
    uint32_t groups = (columns + BF_MODEL_GROUP_COLUMNS - 1) / BF_MODEL_GROUP_COLUMNS;

    vector->values = arena_take(arena, groups * BF_MODEL_GROUP_COLUMNS * sizeof *vector->values);
    vector->scales = arena_take(arena, groups * sizeof *vector->scales);
    vector->sums = arena_take(arena, groups * sizeof *vector->sums);
    return vector->values != NULL && vector->scales != NULL && vector->sums != NULL;
}

/* As many positions as there is memory left for. */
static bool take_cache(struct network *network, struct arena *arena) {
    uint64_t position = (uint64_t)network->model->head->layers * kv_dim(network) * sizeof(float);
    uint64_t each;

    do {
        each = position * network->positions;
        if (2 * (each + ARENA_ALIGN) <= arena_left(arena))
            break;
        network->positions /= 2;
    } while (network->positions >= LEAST_POSITIONS);
    network->keys = arena_take(arena, each);
    network->values = arena_take(arena, each);
    return network->keys != NULL && network->values != NULL;
}

bool network_init(struct network *network, const struct packed *model, struct arena *arena) {
    const struct bf_model_header *head = model->head;
    uint32_t query = head->heads * head->head_size;

    *network = (struct network){.model = model, .positions = head->positions};
    float **const all[] = {&network->stream, &network->normed, &network->query, &network->mixed, &network->weights,
                           &network->gate, &network->up, &network->logits};
    const uint32_t counts[] = {head->dim, head->dim, query, query, head->positions, head->hidden, head->hidden,
                               head->vocabulary};
    for (uint32_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if ((*all[i] = floats(arena, counts[i])) == NULL)
            return false;
    return take_vector(&network->vector, larger(larger(head->dim, head->hidden), query), arena) &&
           take_cache(network, arena);
}

void network_clear(struct network *network) {
    network->at = 0;
}

static void norm(struct network *network, const float *factors) {
    kernel_run(KERNEL_rmsnorm, &(struct rmsnorm_job){network->stream, factors, network->normed,
                                                     network->model->head->dim, network->model->head->epsilon});
}

static void quantise(struct network *network, const float *x, const struct matrix *for_this) {
    kernel_run(KERNEL_quantise, &(struct quantise_job){x, for_this->groups, &network->vector});
}

static void multiply(struct network *network, const struct matrix *matrix, float *result) {
    kernel_run(KERNEL_matmul, &(struct matmul_job){matrix, &network->vector, result});
}

static void turn(struct network *network, float *x, uint32_t heads) {
    uint32_t size = network->model->head->head_size;

    kernel_run(KERNEL_rope, &(struct rope_job){x, network->model->turns + network->at * size, heads, size});
}

/* A matrix times a vector, added to the stream. */
static void add(struct network *network, const float *x, const struct matrix *matrix) {
    quantise(network, x, matrix);
    multiply(network, matrix, network->normed);
    kernel_run(KERNEL_add, &(struct add_job){network->stream, network->normed, network->model->head->dim});
}

static void attend(struct network *network, const struct layer *layer) {
    const struct bf_model_header *head = network->model->head;
    uint32_t first = network->layer * network->positions * kv_dim(network);
    float *keys = network->keys + first, *values = network->values + first;
    float *key = keys + network->at * kv_dim(network), *value = values + network->at * kv_dim(network);

    norm(network, layer->attn_norm);
    quantise(network, network->normed, &layer->q);
    multiply(network, &layer->q, network->query);
    multiply(network, &layer->k, key);
    multiply(network, &layer->v, value);
    turn(network, network->query, head->heads);
    turn(network, key, head->kv_heads);
    kernel_run(KERNEL_attention,
               &(struct attention_job){network->query, keys, values, network->weights, network->mixed, head->kv_heads,
                                       head->heads / head->kv_heads, head->head_size, network->at + 1});
    add(network, network->mixed, &layer->output);
}

static void feed(struct network *network, const struct layer *layer) {
    norm(network, layer->ffn_norm);
    quantise(network, network->normed, &layer->gate);
    multiply(network, &layer->gate, network->gate);
    multiply(network, &layer->up, network->up);
    kernel_run(KERNEL_swiglu, &(struct swiglu_job){network->gate, network->up, network->model->head->hidden});
    add(network, network->gate, &layer->down);
}

void network_take(struct network *network, uint32_t token) {
    const struct packed *model = network->model;

    kernel_run(KERNEL_embed, &(struct embed_job){&model->embedding, token, network->stream});
    for (network->layer = 0; network->layer < model->head->layers; network->layer++) {
        attend(network, &model->layers[network->layer]);
        feed(network, &model->layers[network->layer]);
        if (network_layer_done)
            network_layer_done(network);
    }
    network->at++;
}

uint32_t network_next(struct network *network) {
    const struct packed *model = network->model;
    struct argmax_job job = {network->logits, model->head->vocabulary, 0};

    norm(network, model->output_norm);
    quantise(network, network->normed, &model->output);
    multiply(network, &model->output, network->logits);
    kernel_run(KERNEL_argmax, &job);
    return job.result;
}
