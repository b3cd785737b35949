/*
 * The guest's kernel that draws a token, as a program of the host. Reads { count, temperature, top_p, number, likeliest,
 * logits } again and again from its input, writes a token for each. Without a C library.
 */
#include "kernels.h"
#include "numbers.h"

#define MOST 65536
static uint8_t input[8 << 20];
static uint32_t shares[MOST], results[MOST];

#ifdef LEVEL
#define ENTRY(kernel) LLAMA_NAME(kernel, LEVEL)
#else
#define ENTRY(kernel) kernel##_main
#endif
int32_t ENTRY(sample)(int32_t address, int32_t unused);

static long call(long number, long a, const void *b, long c) {
    long got;
    __asm__ volatile("int $0x80" : "=a"(got) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return got;
}
enum { EXIT = 1, READ = 3, WRITE = 4 };

__attribute__((force_align_arg_pointer)) void _start(void) {
    static const uint16_t control = LLAMA_X87_CONTROL;
    __asm__ volatile("fninit; fldcw %0" : : "m"(control));
    long size = 0, got, count = 0;
    while ((got = call(READ, 0, input + size, (long)sizeof input - size)) > 0)
        size += got;
    for (const uint32_t *at = (uint32_t *)input; (const uint8_t *)at < input + size; at += 5 + at[0]) {
        static struct sample_job job = {.shares = shares};
        job.x = (const float *)(at + 5);
        job.count = at[0];
        job.temperature = at[1];
        job.top_p = at[2];
        job.number = at[3];
        job.likeliest = at[4];
        ENTRY(sample)((int32_t)&job, 0);
        results[count++] = job.result;
    }
    call(WRITE, 1, results, count * (long)sizeof *results);
    call(EXIT, 0, 0, 0);
}
