/* How does a Llama model go from a token to the logits of the next? The wiring; kernels compute. */
#include "network.h"

#define LEAST_POSITIONS 16

void (*network_layer_done)(const struct network *network);
void (*network_kernel_begins)(const struct network *network);

static void run(struct network *network, enum llama_kernel kernel, const void *job) {
    network->told.kernel = kernel;
    if (network_kernel_begins)
        network_kernel_begins(network);
    kernel_run(kernel, job);
    network->told.kernel = BF_INFERENCE_NONE;
    network->told.job++;
}

/* What is computed since here belongs to this layer; BF_INFERENCE_NONE = to none. */
static void begin_layer(struct network *network, uint32_t layer) {
    network->told.job = 0;
    network->told.layer = layer;
}

/* A copy of the stream, for who looks on after it has changed. */
static void keep(struct network *network, uint32_t row) {
    uint32_t dim = network->model->head->dim;
    volatile uint32_t *position = network->kept_positions + row;
    float *kept = network->kept + row * dim;

    *position = BF_INFERENCE_NONE;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < dim; i++)
        kept[i] = network->stream[i];
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *position = network->told.position;
}

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

/* Of the longest vector that is multiplied. */
static uint32_t most_groups(const struct bf_model_header *head) {
    uint32_t columns = larger(larger(head->dim, head->hidden), head->heads * head->head_size);

    return (columns + BF_MODEL_GROUP_COLUMNS - 1) / BF_MODEL_GROUP_COLUMNS;
}

static bool take_vector(struct quantised *vector, uint32_t groups, struct arena *arena) {
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
        each = position * network->told.positions;
        if (2 * (each + ARENA_ALIGN) <= arena_left(arena))
            break;
        network->told.positions /= 2;
    } while (network->told.positions >= LEAST_POSITIONS);
    network->keys = arena_take(arena, each);
    network->values = arena_take(arena, each);
    return network->keys != NULL && network->values != NULL;
}

static void tell(struct network *network, const char *name, uint32_t type, const void *address, uint32_t rows,
                 uint32_t columns) {
    struct bf_buffer *buffer = &network->buffers[network->told.buffer_count++];

    *buffer = (struct bf_buffer){.type = type, .address = (bf_ptr)address, .rows = rows, .columns = columns};
    for (uint32_t i = 0; name[i] != 0; i++)
        buffer->name[i] = name[i];
}

/* For who looks on: what is where. */
static void tell_all(struct network *network) {
    const struct bf_model_header *head = network->model->head;
    const struct quantised *vector = &network->vector;
    uint32_t query = head->heads * head->head_size, rows = 1 + 2 * head->layers;
    uint32_t groups = most_groups(head);

    tell(network, "stream", BF_NUMBER_FLOAT, network->stream, 1, head->dim);
    tell(network, "normed", BF_NUMBER_FLOAT, network->normed, 1, head->dim);
    tell(network, "query", BF_NUMBER_FLOAT, network->query, head->heads, head->head_size);
    tell(network, "mixed", BF_NUMBER_FLOAT, network->mixed, 1, query);
    tell(network, "weights", BF_NUMBER_FLOAT, network->weights, 1, head->positions);
    tell(network, "gate", BF_NUMBER_FLOAT, network->gate, 1, head->hidden);
    tell(network, "up", BF_NUMBER_FLOAT, network->up, 1, head->hidden);
    tell(network, "logits", BF_NUMBER_FLOAT, network->logits, 1, head->vocabulary);
    tell(network, "shares", BF_NUMBER_INT32, network->shares, 1, head->vocabulary);
    tell(network, "vector.values", BF_NUMBER_INT16, vector->values, groups, BF_MODEL_GROUP_COLUMNS);
    tell(network, "vector.scales", BF_NUMBER_INT32, vector->scales, 1, groups);
    tell(network, "vector.sums", BF_NUMBER_INT32, vector->sums, 1, groups);
    tell(network, "kept", BF_NUMBER_FLOAT, network->kept, rows, head->dim);
    tell(network, "keys", BF_NUMBER_FLOAT, network->keys, head->layers * network->told.positions, kv_dim(network));
    tell(network, "values", BF_NUMBER_FLOAT, network->values, head->layers * network->told.positions, kv_dim(network));
    network->told.buffers = (bf_ptr)network->buffers;
    network->told.kept = (bf_ptr)network->kept;
    network->told.kept_positions = (bf_ptr)network->kept_positions;
    network->told.kept_rows = rows;
    for (uint32_t i = 0; i < rows; i++)
        network->kept_positions[i] = BF_INFERENCE_NONE;
}

bool network_init(struct network *network, const struct packed *model, struct arena *arena) {
    const struct bf_model_header *head = model->head;
    uint32_t query = head->heads * head->head_size, rows = 1 + 2 * head->layers;

    *network = (struct network){
        .model = model,
        .told = {.magic = BF_INFERENCE_MAGIC, .size = sizeof network->told, .positions = head->positions,
                 .layer = BF_INFERENCE_NONE, .kernel = BF_INFERENCE_NONE, .logits_position = BF_INFERENCE_NONE},
    };
    network->shares = arena_take(arena, (uint64_t)head->vocabulary * sizeof *network->shares);
    network->kept = arena_take(arena, (uint64_t)rows * head->dim * sizeof *network->kept);
    network->kept_positions = arena_take(arena, rows * sizeof *network->kept_positions);
    if (network->shares == NULL || network->kept == NULL || network->kept_positions == NULL)
        return false;
    float **const all[] = {&network->stream, &network->normed, &network->query, &network->mixed, &network->weights,
                           &network->gate, &network->up, &network->logits};
    const uint32_t counts[] = {head->dim, head->dim, query, query, head->positions, head->hidden, head->hidden,
                               head->vocabulary};
    for (uint32_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if ((*all[i] = floats(arena, counts[i])) == NULL)
            return false;
    if (!take_vector(&network->vector, most_groups(head), arena) || !take_cache(network, arena))
        return false;
    tell_all(network);
    return true;
}

void network_clear(struct network *network) {
    network->told.position = 0;
    network->told.logits_position = BF_INFERENCE_NONE;
}

static void norm(struct network *network, const float *factors) {
    run(network, KERNEL_rmsnorm, &(struct rmsnorm_job){network->stream, factors, network->normed,
                                                     network->model->head->dim, network->model->head->epsilon});
}

static void quantise(struct network *network, const float *x, const struct matrix *for_this) {
    run(network, KERNEL_quantise, &(struct quantise_job){x, for_this->groups, &network->vector});
}

static void multiply(struct network *network, const struct matrix *matrix, float *result) {
    run(network, KERNEL_matmul, &(struct matmul_job){matrix, &network->vector, result});
}

static void turn(struct network *network, float *x, uint32_t heads) {
    uint32_t size = network->model->head->head_size;

    const float *turns = network->model->turns + network->told.position * size;
    run(network, KERNEL_rope, &(struct rope_job){x, turns, heads, size});
}

/* A matrix times a vector, added to the stream. */
static void add(struct network *network, const float *x, const struct matrix *matrix) {
    quantise(network, x, matrix);
    multiply(network, matrix, network->normed);
    run(network, KERNEL_add, &(struct add_job){network->stream, network->normed, network->model->head->dim});
}

static void attend(struct network *network, const struct layer *layer) {
    const struct bf_model_header *head = network->model->head;
    uint32_t first = network->told.layer * network->told.positions * kv_dim(network);
    float *keys = network->keys + first, *values = network->values + first;
    uint32_t here = network->told.position * kv_dim(network);
    float *key = keys + here, *value = values + here;

    norm(network, layer->attn_norm);
    quantise(network, network->normed, &layer->q);
    multiply(network, &layer->q, network->query);
    multiply(network, &layer->k, key);
    multiply(network, &layer->v, value);
    turn(network, network->query, head->heads);
    turn(network, key, head->kv_heads);
    run(network, KERNEL_attention,
               &(struct attention_job){network->query, keys, values, network->weights, network->mixed, head->kv_heads,
                                       head->heads / head->kv_heads, head->head_size, network->told.position + 1});
    add(network, network->mixed, &layer->output);
}

static void feed(struct network *network, const struct layer *layer) {
    norm(network, layer->ffn_norm);
    quantise(network, network->normed, &layer->gate);
    multiply(network, &layer->gate, network->gate);
    multiply(network, &layer->up, network->up);
    run(network, KERNEL_swiglu, &(struct swiglu_job){network->gate, network->up, network->model->head->hidden});
    add(network, network->gate, &layer->down);
}

void network_take(struct network *network, uint32_t token) {
    const struct packed *model = network->model;

    begin_layer(network, BF_INFERENCE_NONE);
    run(network, KERNEL_embed, &(struct embed_job){&model->embedding, token, network->stream});
    keep(network, 0);
    for (uint32_t layer = 0; layer < model->head->layers; layer++) {
        begin_layer(network, layer);
        attend(network, &model->layers[layer]);
        keep(network, 1 + 2 * layer);
        feed(network, &model->layers[layer]);
        keep(network, 2 + 2 * layer);
        if (network_layer_done)
            network_layer_done(network);
    }
    network->told.position++;
    begin_layer(network, BF_INFERENCE_NONE);
}

uint32_t network_next(struct network *network) {
    const struct packed *model = network->model;
    struct argmax_job job = {network->logits, model->head->vocabulary, 0};

    network->told.logits_position = BF_INFERENCE_NONE;
    norm(network, model->output_norm);
    quantise(network, network->normed, &model->output);
    multiply(network, &model->output, network->logits);
    network->told.logits_position = network->told.position - 1;
    run(network, KERNEL_argmax, &job);
    return job.result;
}

uint32_t network_draw(struct network *network, uint32_t likeliest, uint32_t number) {
    struct sample_job job = {network->logits,          network->shares,     network->model->head->vocabulary,
                             network->told.temperature, network->told.top_p, number, likeliest, 0};

    run(network, KERNEL_sample, &job);
    return job.result;
}
