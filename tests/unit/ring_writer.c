/*
 * The guest's side of the event ring, as a process of its own: writes COUNT records into the ring at HEADER of the
 * file RAM, waiting for the reader in lossless mode as the kernel does. Every word of a record derives from its
 * sequence number, so that a torn record cannot go unnoticed. Arguments: RAM HEADER COUNT [FREEZE_AT].
 * With FREEZE_AT it stops half way through writing that record, for ever.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct event {
    uint64_t tsc;
    uint32_t seq;
    uint8_t type;
    uint8_t cpu;
    uint16_t id;
    uint32_t arg[4];
};

int main(int argc, char **argv) {
    int file = open(argv[1], O_RDWR);
    struct stat status;
    if (argc < 4 || file < 0 || fstat(file, &status) != 0)
        return 2;
    uint8_t *ram = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (ram == MAP_FAILED)
        return 2;
    uint32_t *header = (uint32_t *)(ram + strtoul(argv[2], NULL, 0));
    uint64_t count = strtoull(argv[3], NULL, 0);
    uint64_t freeze = argc > 4 ? strtoull(argv[4], NULL, 0) : UINT64_MAX;
    uint32_t capacity = header[2];
    struct event *records = (struct event *)(ram + header[4]);
    uint32_t head = header[16];

    for (uint64_t i = 0; i < count; i++) {
        bool counted = false;
        while (__atomic_load_n(&header[5], __ATOMIC_RELAXED) == 2 &&
               head - __atomic_load_n(&header[32], __ATOMIC_ACQUIRE) >= capacity) {
            header[18] += !counted;
            counted = true;
            __builtin_ia32_pause();
        }
        volatile struct event *record = &records[head & (capacity - 1)];
        record->tsc = (uint64_t)head * 3;
        record->arg[0] = head;
        record->arg[1] = ~head;
        if (i == freeze) {
            puts("frozen");
            fflush(stdout);
            pause();
        }
        record->seq = head;
        record->type = 28;
        record->cpu = 0;
        record->id = (uint16_t)head;
        record->arg[2] = head ^ 0x5A5A5A5A;
        record->arg[3] = head + 7;
        head++;
        __atomic_store_n(&header[16], head, __ATOMIC_RELEASE);
    }
    return 0;
}
