/* ATA PIO on the primary channel (ATA/ATAPI-6, 9.5: PIO data-in commands), LBA28, one sector at a time. */
#include "stock.h"

#define DATA 0x1F0
#define SECTOR_COUNT 0x1F2
#define LBA_LOW 0x1F3
#define LBA_MIDDLE 0x1F4
#define LBA_HIGH 0x1F5
#define DEVICE 0x1F6
#define STATUS 0x1F7
#define COMMAND 0x1F7
#define DEVICE_LBA 0xE0
#define DEVICE_SLAVE 0x10
#define STATUS_ERROR 0x01
#define STATUS_DATA 0x08
#define STATUS_FAULT 0x20
#define STATUS_BUSY 0x80
#define NO_DRIVE 0xFF
#define READ_SECTORS 0x20
#define SPINS 1000000
#define WORDS 256

/* False when the drive is not there, reports an error, or does not get ready. */
static bool wait_for_data(void) {
    for (int i = 0; i < 4; i++)
        (void)inb(STATUS);          /* 400 ns, as long as the status may take to become valid */
    for (int spins = 0; spins < SPINS; spins++) {
        uint8_t status = inb(STATUS);
        if (status == 0 || status == NO_DRIVE)
            return false;
        if (status & STATUS_BUSY)
            continue;
        if (status & (STATUS_ERROR | STATUS_FAULT))
            return false;
        if (status & STATUS_DATA)
            return true;
    }
    return false;
}

bool ata_read_sector(uint8_t drive, uint32_t lba, void *buffer) {
    outb(DEVICE, (uint8_t)(DEVICE_LBA | (drive ? DEVICE_SLAVE : 0) | (lba >> 24 & 0x0F)));
    outb(SECTOR_COUNT, 1);
    outb(LBA_LOW, (uint8_t)lba);
    outb(LBA_MIDDLE, (uint8_t)(lba >> 8));
    outb(LBA_HIGH, (uint8_t)(lba >> 16));
    outb(COMMAND, READ_SECTORS);
    if (!wait_for_data())
        return false;
    uint32_t words = WORDS;
    __asm__ volatile("rep insw" : "+D"(buffer), "+c"(words) : "d"((uint16_t)DATA) : "memory");
    return true;
}
