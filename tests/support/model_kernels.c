/*
 * The guest's kernels (firmware/llama/kernels) as a program of the host. Reads from its input
 * { rows, columns, planes } as uint32_t, tiles, factors, then vector, factors of a norm; writes the matrix times the
 * vector, the vector's norm, and e to the power of its values. Without a C library, for any x86.
 */
#include "kernels.h"
#include "numbers.h"

#define MOST_COLUMNS 4096
static uint8_t input[8 << 20];
static int16_t values[MOST_COLUMNS];
static int32_t scales[MOST_COLUMNS / 32], sums[MOST_COLUMNS / 32];
static float given[MOST_COLUMNS], result[MOST_COLUMNS];

#ifdef LEVEL
#define ENTRY(kernel) LLAMA_NAME(kernel, LEVEL)
#else
#define ENTRY(kernel) kernel##_main
#endif
int32_t ENTRY(quantise)(int32_t address, int32_t unused);
int32_t ENTRY(matmul)(int32_t address, int32_t unused);
int32_t ENTRY(rmsnorm)(int32_t address, int32_t unused);

static long call(long number, long a, const void *b, long c) {
    long got;
#ifdef __x86_64__
    __asm__ volatile("syscall" : "=a"(got) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
    __asm__ volatile("int $0x80" : "=a"(got) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
#endif
    return got;
}
#ifdef __x86_64__
enum { READ = 0, WRITE = 1, EXIT = 60 };
#else
enum { READ = 3, WRITE = 4, EXIT = 1 };
#endif

/* What is static in such a program has an address of 31 bits, also on a CPU of 64. */
#define ADDRESS(job) ((int32_t)(intptr_t)(job))

__attribute__((force_align_arg_pointer)) void _start(void) {
#ifndef __x86_64__
    static const uint16_t single = 0x007F;
    __asm__ volatile("fninit; fldcw %0" : : "m"(single));
#endif
    long size = 0, got;
    while ((got = call(READ, 0, input + size, (long)sizeof input - size)) > 0)
        size += got;
    const uint32_t *head = (const uint32_t *)input;
    static struct matrix matrix;
    static struct quantised x = {values, scales, sums, 0};
    static struct quantise_job quantise = {given, 0, &x};
    static struct matmul_job multiply = {&matrix, &x, result};
    static struct rmsnorm_job norm = {given, 0, result, 0, 1e-5f};
    matrix.tiles = input + 12;
    matrix.rows = head[0];
    matrix.columns = head[1];
    matrix.groups = (head[1] + 31) / 32;
    matrix.planes = head[2];
    uint32_t tiles = (matrix.rows + BF_MODEL_TILE_ROWS - 1) / BF_MODEL_TILE_ROWS;
    matrix.factors = (const float *)(matrix.tiles + tiles * matrix.groups * matrix.planes * BF_MODEL_GROUP_BYTES);
    const float *vector = matrix.factors + tiles * BF_MODEL_TILE_ROWS;
    for (uint32_t i = 0; i < matrix.columns; i++)
        given[i] = vector[i];
    quantise.groups = matrix.groups;
    ENTRY(quantise)(ADDRESS(&quantise), 0);
    ENTRY(matmul)(ADDRESS(&multiply), 0);
    call(WRITE, 1, result, matrix.rows * 4);
    norm.factors = vector + matrix.columns;
    norm.count = matrix.columns;
    ENTRY(rmsnorm)(ADDRESS(&norm), 0);
    call(WRITE, 1, result, matrix.columns * 4);
    for (uint32_t i = 0; i < matrix.columns; i++)
        result[i] = power(given[i]);
    call(WRITE, 1, result, matrix.columns * 4);
    call(EXIT, 0, 0, 0);
}
