/* The processor: identification, x87, vectors, the final halt. */
#include "defs.h"

static void cpuid(uint32_t leaf, uint32_t registers[4]) {
    __asm__ volatile("cpuid"
                     : "=a"(registers[0]), "=b"(registers[1]), "=c"(registers[2]), "=d"(registers[3])
                     : "a"(leaf), "c"(0));
}

/* Intel SDM vol. 2A, CPUID: vendor in EBX, EDX, ECX of leaf 0; the version's fields in EAX of leaf 1. */
void cpu_identify(struct cpu_features *features) {
    uint32_t r[4];
    cpuid(0, r);
    memcpy(features->vendor, &r[1], 4);
    memcpy(features->vendor + 4, &r[3], 4);
    memcpy(features->vendor + 8, &r[2], 4);
    features->vendor[12] = 0;
    cpuid(1, r);
    features->family = r[0] >> 8 & 0xF;
    if (features->family == 0xF)
        features->family += r[0] >> 20 & 0xFF;
    features->model = (r[0] >> 4 & 0xF) | (r[0] >> 12 & 0xF0);
    features->stepping = r[0] & 0xF;
    features->ecx = r[2];
    features->edx = r[3];
}

/* Modules may use the x87; the kernel itself never does. FNINIT masks its exceptions (Intel SDM vol. 1, 8.1.5). */
void cpu_init_x87(void) {
    __asm__ volatile("fninit");
}

/* Intel SDM vol. 3A, 2.5: EM makes x87 and SSE instructions invalid, TS makes them trap; NE reports errors as #MF. */
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_NE (1u << 5)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_OSXSAVE (1u << 18)
#define XCR0_X87_SSE 3
#define XCR0_AVX 4
#define MXCSR_RESET 0x1F80              /* every exception masked, to the nearest, denormals kept (vol. 1, 10.2.3) */

/* CPUID leaf 1 (vol. 2A, tables 3-10 and 3-11). */
#define EDX_FXSR (1u << 24)
#define ECX_XSAVE (1u << 26)

static const struct {
    uint8_t in_edx;
    uint8_t bit;
    uint8_t feature;
} leaf_1[] = {
    {1, 25, BF_FEATURE_SSE}, {1, 26, BF_FEATURE_SSE2}, {0, 0, BF_FEATURE_SSE3}, {0, 9, BF_FEATURE_SSSE3},
    {0, 19, BF_FEATURE_SSE4_1}, {0, 20, BF_FEATURE_SSE4_2}, {0, 28, BF_FEATURE_AVX},
};
#define LEAF_7_EBX_AVX2 (1u << 5)

static void set_cr4(uint32_t bits) {
    uint32_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | bits));
}

/*
 * Nothing saves vector registers: the kernel and its interrupt handlers use none, and one version runs at a time. A
 * feature counts only with those that it builds on. Leaf 7 is asked last, and only where AVX is on: a CPU without it
 * answers with another leaf's words, in which AVX2 may seem to be there.
 */
uint32_t cpu_enable_vectors(void) {
    uint32_t r[4], cr0, highest;
    uint32_t features = 0;
    uint32_t mxcsr = MXCSR_RESET;

    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"((cr0 & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE));
    cpuid(0, r);
    highest = r[0];
    cpuid(1, r);
    if ((r[3] & EDX_FXSR) == 0)
        return 0;
    for (uint32_t i = 0; i < sizeof leaf_1 / sizeof leaf_1[0]; i++) {
        if ((r[leaf_1[i].in_edx ? 3 : 2] >> leaf_1[i].bit & 1) == 0)
            break;
        if (leaf_1[i].feature == BF_FEATURE_AVX && (r[2] & ECX_XSAVE) == 0)
            break;
        features |= leaf_1[i].feature;
    }
    if (features == 0)
        return 0;
    set_cr4(CR4_OSFXSR | CR4_OSXMMEXCPT);
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    if ((features & BF_FEATURE_AVX) == 0)
        return features;
    set_cr4(CR4_OSXSAVE);
    __asm__ volatile("xsetbv" : : "a"(XCR0_X87_SSE | XCR0_AVX), "d"(0), "c"(0));
    if (highest >= 7) {
        cpuid(7, r);
        if ((r[1] & LEAF_7_EBX_AVX2) != 0)
            features |= BF_FEATURE_AVX2;
    }
    return features;
}

_Noreturn void cpu_halt(void) {
    for (;;)
        __asm__ volatile("cli; hlt");
}
