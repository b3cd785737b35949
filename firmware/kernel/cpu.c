/* The processor: identification, x87, the final halt. */
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

_Noreturn void cpu_halt(void) {
    for (;;)
        __asm__ volatile("cli; hlt");
}
