/* The C++ runtime: what clang's code calls (Itanium C++ ABI, chapters 2.8 and 3.3), and what this runtime calls. */
#pragma once

#include <stddef.h>
#include <stdint.h>

inline void *operator new(size_t, void *place) noexcept {
    return place;
}

extern "C" {

/* Of the kernel: heap.c, printf.c, cpu.c. */
void *malloc(size_t bytes);
void free(void *pointer);
void kputs(const char *text);
__attribute__((format(printf, 1, 2))) void kprintf(const char *format, ...);
[[noreturn]] void cpu_halt(void);

/* Prints the reason on the console and halts: there is nobody to catch an exception. */
[[noreturn]] void cxx_fatal(const char *reason);
}
