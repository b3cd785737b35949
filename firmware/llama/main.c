/* The language model's unikernel: it answers a question on its console, and gets faster while it does. */
#include "answer.h"
#include "examples.h"
#include "load.h"
#include "numbers.h"
#include "speed.h"
#include "tiers.h"
#include "tuner.h"
#include "typed.h"

#include "runtime.h"

#include "stock_kernel.h"

#include "jit.h"

#define FIRST_QUESTION "Once upon a time"
_Static_assert(MOST_TEXT == BF_QUESTION_TEXT, "all that may be asked");
static volatile struct bf_model_question question = {
    .asked = BF_ASKED_ANSWER, .tokens = 64, .bytes = sizeof FIRST_QUESTION - 1, .text = FIRST_QUESTION,
};

#define TYPED_TOKENS 128        /* of an answer to what was typed, at most */
static struct bf_model_question typed = {.tokens = TYPED_TOKENS};

static bool in_line;            /* the answer's last character was no newline */
static struct packed model;
static struct vocabulary words;
static struct network network;
static struct answer current;

void application_register(void) {
    examples_fill();
    tiers_register();
    model_record->question = (bf_ptr)&question;
}

static void set_x87(void) {
    static const uint16_t control = LLAMA_X87_CONTROL;

    __asm__ volatile("fninit; fldcw %0" : : "m"(control));
}

/* What is wrong, or NULL. */
static const char *prepare(void) {
    const void *base;
    uint32_t room;
    const char *wrong = load_model(&base, &room);

    if (wrong != NULL)
        return wrong;
    struct arena arena = {NULL, (uint8_t *)base + room};
    const struct bf_model_header *head = base;
    if (room >= sizeof *head && head->file_bytes <= room)
        arena.at = (uint8_t *)base + (head->file_bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (arena.at == NULL || arena.at > arena.end)
        arena.at = arena.end;
    bf_ptr memory = (bf_ptr)arena.at;
    wrong = packed_open(&model, base, room, &arena);
    if (wrong != NULL)
        return wrong;
    const struct bf_model_part *damaged = load_has_checked() ? NULL : packed_damaged(&model);
    if (damaged != NULL) {
        kprintf("[llama] part %.32s differs from its CRC\n", damaged->name);
        return "it is damaged; pack it again";
    }
    if (model.token_ends == NULL)
        return "it has no tokens, so it takes no text; pack a GGUF file that has them";
    if (!vocabulary_init(&words, &model, &arena) || !network_init(&network, &model, &arena) ||
        !answer_init(&current, &network, &words, &arena))
        return "there is no memory left for its keys and values; give the machine more (-m)";
    network.told.memory = memory;
    network.told.memory_used = (bf_ptr)arena.at;
    network.told.memory_end = (bf_ptr)arena.end;
    model_record->inference = (bf_ptr)&network.told;
    kprintf("[llama] %.64s: %u layers of %u, vocabulary %u, %u KiB at 0x%08x, room for %u positions\n", head->name,
            head->layers, head->dim, head->vocabulary, head->file_bytes / 1024, (uint32_t)base, network.told.positions);
    return NULL;
}

static void print(const char *text, uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++)
        kputchar(text[i]);
    if (bytes != 0)
        in_line = text[bytes - 1] != '\n';
}

void tiers_about_to_tell(void) {
    if (in_line)
        kputchar('\n');
    in_line = false;
}

static void tell_layer(const struct network *at) {
    event(BF_EVENT_LAYER, at->told.layer, at->told.position, 0, 0, 0);
}

static void stop_here(const struct network *at) {
    if (HOOKED(BF_HOOK_KERNEL))
        bareflow_hook_kernel(at->told.kernel, at->told.layer, at->told.job);
}

bool answer_told(const struct answer *answer) {
    const struct bf_inference *told = &network.told;
    uint32_t bytes, last = told->count != 0 ? told->text_count + told->count - 1 : told->position - 1;

    event(BF_EVENT_TOKEN, told->count != 0, answer->ids[last], last, 0, 0);
    speed_count();
    /* The text's tokens have no logits, and the first of the answer has nothing else. */
    if (told->count > 1)
        tuner_token_done();
    else
        tuner_begin();
    if (told->count != 0) {
        const char *text = vocabulary_text(&model, answer->ids[last], &bytes);
        print(text, bytes);
    }
    typed_look(false);
    return !typed_stop() && question.asked != BF_ASKED_NO_MORE;
}

/* Whoever asked may have written anything. */
static void read_question(struct bf_inference *told, const volatile struct bf_model_question *asked) {
    uint32_t temperature = asked->temperature, top_p = asked->top_p, tokens = asked->tokens;

    told->wanted = tokens < told->positions ? tokens : told->positions;
    told->temperature = temperature < BF_SAMPLE_MOST ? temperature : BF_SAMPLE_MOST;
    told->top_p = top_p == 0 || top_p > BF_SAMPLE_ONE ? BF_SAMPLE_ONE : top_p;
    told->seed = asked->seed;
}

static void answer_question(const volatile struct bf_model_question *asked) {
    static const char *const ends[] = {
        [BF_END_FULL] = "as many as were wanted", [BF_END_STOPPED] = "the end of the text",
        [BF_END_NO_ROOM] = "no position left", [BF_END_INTERRUPTED] = "interrupted",
        [BF_END_BAD_TEXT] = "the text is empty, too long, or has a byte that the model does not know",
    };
    struct bf_inference *told = &network.told;
    uint32_t bytes = asked->bytes;

    if (bytes > MOST_TEXT)
        bytes = MOST_TEXT;
    current.chat = asked->chat == 1;
    read_question(told, asked);
    (void)typed_stop();         /* it ended no answer */
    told->answers++;
    kprintf("[llama] > ");
    print((const char *)asked->text, bytes);
    print("\n", 1);
    speed_begin(told);
    told->end = answer(&current, (const char *)asked->text, bytes);
    told->state = BF_INFERENCE_WAITING;
    tiers_about_to_tell();
    kprintf("[llama] %u tokens after %u: %s; logits CRC 0x%08x\n", told->count, told->text_count, ends[told->end],
            told->logits_crc);
    speed_print();
    serial_printf("[llama] tokens:");
    for (uint32_t i = 0; i < told->count; i++)
        serial_printf(" %u", current.ids[told->text_count + i]);
    serial_printf("\n");
}

/* What was typed has a place of its own: whoever writes memory may write `question` at any moment. */
static void answer_typed(void) {
    uint32_t nothing = BF_ASKED_NOTHING;

    typed.bytes = typed_line(typed.text);
    if (typed.bytes == 0)
        return;
    typed.chat = model.chat_after_count != 0;
    (void)__atomic_compare_exchange_n(&question.asked, &nothing, BF_ASKED_TYPED, false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST);
    answer_question(&typed);
    for (uint32_t own = BF_ASKED_NO_MORE; own <= BF_ASKED_TYPED; own++) {
        uint32_t before = own;      /* and not BF_ASKED_ANSWER: that question has come meanwhile */
        (void)__atomic_compare_exchange_n(&question.asked, &before, BF_ASKED_NOTHING, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_SEQ_CST);
    }
}

int main(void) {
    set_x87();
    const char *wrong = prepare();

    if (wrong != NULL) {
        model_record->question = 0;
        kprintf("[llama] no model to run: %s\n", wrong);
        return 1;
    }
    network_layer_done = tell_layer;
    network_kernel_begins = stop_here;
    for (;;) {
        uint32_t asked = question.asked;    /* read once: the next question may come at any moment */
        if (asked == BF_ASKED_ANSWER)
            answer_question(&question);
        if (asked != BF_ASKED_NOTHING)
            question.asked = BF_ASKED_NOTHING;
        typed_look(true);
        answer_typed();
        adaptive_jit_safe_point();
        if (mailbox_waiting())
            cpu_pause();
        else
            cpu_idle();
    }
}
