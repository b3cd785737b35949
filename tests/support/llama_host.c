/*
 * The guest's inference engine as a program of the host, without a C library. Reads questions and the packed model from
 * its input: { questions, then for each: wanted, chat, temperature, top_p, seed, bytes, text } and at the next multiple of 64 the model. Writes
 * for each question { end, tokens of the text, tokens of the answer, CRC of the logits } and all those tokens.
 */
#include "answer.h"
#include "numbers.h"

static uint8_t input[12 << 20] __attribute__((aligned(64)));

static long call(long number, long a, const void *b, long c) {
    long got;
    __asm__ volatile("int $0x80" : "=a"(got) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return got;
}
enum { EXIT = 1, READ = 3, WRITE = 4 };

#ifdef LEVEL
#define ENTRY(kernel) LLAMA_NAME(kernel, LEVEL)
#else
#define ENTRY(kernel) kernel##_main
#endif
#define DECLARE(kernel) int32_t ENTRY(kernel)(int32_t address, int32_t unused);
LLAMA_KERNELS(DECLARE)

void kernel_run(enum llama_kernel kernel, const void *job) {
    static int32_t (*const kernels[])(int32_t, int32_t) = {
#define ONE(kernel) ENTRY(kernel),
        LLAMA_KERNELS(ONE)
    };
    kernels[kernel]((int32_t)job, 0);
}

bool answer_told(const struct answer *answer) {
    (void)answer;
    return true;
}

static void fail(const char *why) {
    uint32_t length = 0;
    while (why[length] != 0)
        length++;
    call(WRITE, 2, why, (long)length);
    call(EXIT, 1, 0, 0);
}

static struct packed model;
static struct vocabulary words;
static struct network network;
static struct answer current;

__attribute__((force_align_arg_pointer)) void _start(void) {
    static const uint16_t control = LLAMA_X87_CONTROL;
    __asm__ volatile("fninit; fldcw %0" : : "m"(control));
    long size = 0, got;
    while ((got = call(READ, 0, input + size, (long)sizeof input - size)) > 0)
        size += got;

    uint8_t *at = input + 4, *end = input + size;
    for (uint32_t i = *(uint32_t *)input; i > 0; i--)
        at += 24 + (((uint32_t *)at)[5] + 3) / 4 * 4;
    at = input + (at - input + 63) / 64 * 64;
    struct arena arena = {input + (size + 63) / 64 * 64, input + sizeof input};
    const char *wrong = packed_open(&model, at, (uint32_t)(end - at), &arena);
    if (wrong != NULL)
        fail(wrong);
    if (packed_damaged(&model) != NULL)
        fail("a part differs from its CRC");
    if (!vocabulary_init(&words, &model, &arena) || !network_init(&network, &model, &arena) ||
        !answer_init(&current, &network, &words, &arena))
        fail("no memory");

    at = input + 4;
    for (uint32_t i = *(uint32_t *)input; i > 0; i--) {
        uint32_t *asked = (uint32_t *)at;
        struct bf_inference *told = &network.told;
        told->wanted = asked[0];
        current.chat = asked[1] == 1;
        told->temperature = asked[2];
        told->top_p = asked[3];
        told->seed = asked[4];
        uint32_t found[4] = {answer(&current, (const char *)(asked + 6), asked[5])};
        found[1] = told->text_count;
        found[2] = told->count;
        found[3] = told->logits_crc;
        call(WRITE, 1, found, sizeof found);
        call(WRITE, 1, current.ids, (long)((told->text_count + told->count) * sizeof *current.ids));
        at += 24 + (asked[5] + 3) / 4 * 4;
    }
    call(EXIT, 0, 0, 0);
}
