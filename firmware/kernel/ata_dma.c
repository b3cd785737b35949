/*
 * The bus master of the PIIX: the disk's data goes to memory without the CPU. Programming Interface for Bus Master IDE
 * Controller 1.0; where it is: PCI Local Bus 3.0, 3.2.2.3.2 and 6.1. Addresses are physical ones, as there is no paging.
 */
#include "ata.h"

#define PCI_ADDRESS 0xCF8
#define PCI_DATA 0xCFC
#define PCI_ENABLE 0x80000000
#define PCI_COMMAND 0x04
#define PCI_COMMAND_IO 0x0001
#define PCI_COMMAND_MASTER 0x0004
#define PCI_CLASS 0x08
#define PCI_BAR4 0x20
#define PCI_DEVICES 256                 /* 32 devices of 8 functions on bus 0, where the PIIX is */
#define CLASS_IDE 0x0101                /* mass storage, IDE */
#define IDE_HAS_MASTER 0x80             /* programming interface */
#define BAR_IO 1

/* Registers of the primary channel, from BAR4 on. */
#define MASTER_COMMAND 0
#define MASTER_STATUS 2
#define MASTER_TABLE 4
#define MASTER_START 0x01
#define MASTER_TO_MEMORY 0x08
#define STATUS_ACTIVE 0x01
#define STATUS_ERROR 0x02
#define STATUS_INTERRUPT 0x04

/* A region of memory; it does not cross a multiple of 64 KB, nor does the table. */
struct region {
    uint32_t address;
    uint16_t bytes;                     /* 0 = 64 KB */
    uint16_t flags;
};
#define REGION_BYTES 0x10000u
#define REGION_LAST 0x8000
#define REGIONS (DMA_MOST_SECTORS * SECTOR_BYTES / REGION_BYTES + 1)

static struct region table[REGIONS] __attribute__((aligned(256)));
static uint16_t master;                 /* its first port; 0 = there is none */

static uint32_t pci_read(uint32_t device, uint32_t where) {
    outl(PCI_ADDRESS, PCI_ENABLE | device << 8 | where);
    return inl(PCI_DATA);
}

static void pci_write(uint32_t device, uint32_t where, uint32_t value) {
    outl(PCI_ADDRESS, PCI_ENABLE | device << 8 | where);
    outl(PCI_DATA, value);
}

/* A machine without PCI answers with ones, in which no class is. */
bool dma_find(void) {
    for (uint32_t device = 0; device < PCI_DEVICES; device++) {
        uint32_t class = pci_read(device, PCI_CLASS);
        if (class >> 16 != CLASS_IDE || (class >> 8 & IDE_HAS_MASTER) == 0)
            continue;
        uint32_t bar = pci_read(device, PCI_BAR4);
        if ((bar & BAR_IO) == 0 || (bar & 0xFFF0) == 0)
            continue;
        master = bar & 0xFFF0;
        pci_write(device, PCI_COMMAND, (pci_read(device, PCI_COMMAND) & 0xFFFF) | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
        return true;
    }
    return false;
}

bool dma_takes(const void *buffer, uint32_t sectors) {
    return master != 0 && ((uint32_t)buffer & 1) == 0 && sectors <= DMA_MOST_SECTORS;
}

void dma_prepare(void *buffer, uint32_t sectors) {
    uint32_t address = (uint32_t)buffer;
    uint32_t left = sectors * SECTOR_BYTES;
    struct region *region = table;

    for (;;) {
        uint32_t bytes = REGION_BYTES - address % REGION_BYTES;
        bytes = bytes < left ? bytes : left;
        left -= bytes;
        *region++ = (struct region){address, (uint16_t)bytes, left == 0 ? REGION_LAST : 0};
        if (left == 0)
            break;
        address += bytes;
    }
    outb(master + MASTER_COMMAND, MASTER_TO_MEMORY);
    outl(master + MASTER_TABLE, (uint32_t)table);
    outb(master + MASTER_STATUS, STATUS_ERROR | STATUS_INTERRUPT);  /* each is cleared by writing it */
}

void dma_start(void) {
    __asm__ volatile("" : : : "memory");
    outb(master + MASTER_COMMAND, MASTER_TO_MEMORY | MASTER_START);
}

/* Its interrupt bit is not waited for: it does not come while the disk's interrupts are off. */
bool dma_active(void) {
    return (inb(master + MASTER_STATUS) & (STATUS_ACTIVE | STATUS_ERROR)) == STATUS_ACTIVE;
}

bool dma_stop(void) {
    outb(master + MASTER_COMMAND, MASTER_TO_MEMORY);
    __asm__ volatile("" : : : "memory");
    return (inb(master + MASTER_STATUS) & (STATUS_ACTIVE | STATUS_ERROR)) == 0;
}
