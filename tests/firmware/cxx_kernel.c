/* What the C++ runtime takes from the kernel, reduced to what a test can look at from outside. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

uint8_t heap[4096];
size_t heap_used;
uint32_t frees;
uint32_t halted;
char console[4096];
size_t console_used;
void *halt_return[5];

void *malloc(size_t bytes) {
    if (bytes > sizeof heap - heap_used)
        return NULL;
    void *memory = heap + heap_used;
    heap_used += bytes;
    return memory;
}

void free(void *pointer) {
    frees += pointer != NULL;
}

void kputs(const char *text) {
    while (*text != '\0' && console_used < sizeof console)
        console[console_used++] = *text++;
}

/* Only %s is replaced. */
__attribute__((format(printf, 1, 2))) void kprintf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    for (; *format != '\0'; format++) {
        if (format[0] == '%' && format[1] == 's') {
            kputs(va_arg(arguments, const char *));
            format++;
        } else {
            kputs((const char[]){*format, '\0'});
        }
    }
    va_end(arguments);
}

/* Back to `run`: a halted machine would end the test without its answer. */
_Noreturn void cpu_halt(void) {
    halted = 1;
    __builtin_longjmp(halt_return, 1);
}

/* Runs f(argument); 1 when it halted the machine. */
uint32_t run(void (*f)(uint32_t), uint32_t argument) {
    halted = 0;
    if (__builtin_setjmp(halt_return) == 0)
        f(argument);
    return halted;
}

typedef void (*constructor_t)(void);
extern constructor_t __init_array_start[];
extern constructor_t __init_array_end[];

uint32_t construct(void) {
    for (constructor_t *each = __init_array_start; each < __init_array_end; each++)
        (*each)();
    return (uint32_t)(__init_array_end - __init_array_start);
}
