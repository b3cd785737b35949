/*
 * The part of the machine that the module system needs, as an i686 Linux program has it: memory at the pools'
 * addresses, and a console. System calls by their i386 numbers (Linux, arch/x86/entry/syscalls/syscall_32.tbl).
 */
#include "user.h"

#define SYS_EXIT 1
#define SYS_READ 3
#define SYS_WRITE 4
#define SYS_OPEN 5
#define SYS_MMAP2 192
#define PROT_ALL 7              /* read, write, execute */
#define MAP_PRIVATE_FIXED_ANONYMOUS 0x32

struct bf_status bareflow_status;
struct bf_function function_table[BF_MAX_FUNCTIONS];
struct bf_root bareflow_root;

static int32_t system_call(uint32_t number, uint32_t a, uint32_t b, uint32_t c) {
    int32_t result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

/* EBP carries the sixth argument. */
static int32_t map_memory(bf_ptr address, uint32_t size) {
    int32_t result;
    __asm__ volatile("pushl %%ebp\n\t"
                     "xorl %%ebp, %%ebp\n\t"
                     "int $0x80\n\t"
                     "popl %%ebp"
                     : "=a"(result)
                     : "a"(SYS_MMAP2), "b"(address), "c"(size), "d"(PROT_ALL), "S"(MAP_PRIVATE_FIXED_ANONYMOUS), "D"(-1)
                     : "memory");
    return result;
}

_Noreturn void user_exit(uint32_t code) {
    for (;;)
        system_call(SYS_EXIT, code, 0, 0);
}

void user_write(const void *bytes, uint32_t size) {
    const uint8_t *from = bytes;

    while (size != 0) {
        int32_t written = system_call(SYS_WRITE, 1, (uint32_t)from, size);
        if (written <= 0)
            user_exit(3);
        from += written;
        size -= (uint32_t)written;
    }
}

/* Bytes read from an open file, until `size` or its end. */
uint32_t user_read(uint32_t file, void *buffer, uint32_t size) {
    uint32_t done = 0;

    while (done < size) {
        int32_t bytes = system_call(SYS_READ, file, (uint32_t)buffer + done, size - done);
        if (bytes <= 0)
            break;
        done += (uint32_t)bytes;
    }
    return done;
}

int32_t user_open(const char *path) {
    return system_call(SYS_OPEN, (uint32_t)path, 0, 0);
}

void user_map_pools(void) {
    uint32_t size = BF_POOL_METADATA_BASE + BF_POOL_METADATA_SIZE - BF_POOL_CODE_BASE;

    if (map_memory(BF_POOL_CODE_BASE, size) != BF_POOL_CODE_BASE)
        user_exit(2);
}

void serial_putchar(char c) {
    user_write(&c, 1);
}

/* The screen of a program is its output, where everything is already. */
void terminal_putchar(char c) {
    (void)c;
}

void event(uint32_t type, uint32_t id, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    (void)type, (void)id, (void)a, (void)b, (void)c, (void)d;
}

/* No hook is set: the mask of the root is 0. */
void bareflow_hook_module_load(uint32_t module, uint32_t code, uint32_t size) {
    (void)module, (void)code, (void)size;
}

void bareflow_hook_pool_fail(uint32_t pool, uint32_t size) {
    (void)pool, (void)size;
}
