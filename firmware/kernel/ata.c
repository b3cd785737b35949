/*
 * The second disk of the primary ATA channel: larger pieces by the bus master (ata_dma.c), the rest, and what that
 * cannot read, by programmed I/O. Register and bit names as in ATA/ATAPI-6 (T13 1410D), chapters 7 (registers), 8.26
 * (READ DMA EXT), 8.34 (READ MULTIPLE), 9.5 (PIO data-in) and 9.7 (DMA). Interrupts are not used: IRQ 14 stays masked.
 */
#include "ata.h"

#define DATA 0x1F0
#define ERROR 0x1F1
#define SECTOR_COUNT 0x1F2
#define LBA_LOW 0x1F3
#define LBA_MID 0x1F4
#define LBA_HIGH 0x1F5
#define DEVICE 0x1F6
#define STATUS 0x1F7
#define COMMAND 0x1F7

#define STATUS_BSY 0x80
#define STATUS_DRDY 0x40
#define STATUS_DF 0x20
#define STATUS_DRQ 0x08
#define STATUS_ERR 0x01
#define STATUS_NO_DEVICE 0xFF           /* nothing drives the bus */

#define DEVICE_SLAVE_LBA 0xF0           /* the master, which holds the kernel, is 0xE0 */

#define READ_SECTORS 0x20
#define READ_DMA_EXT 0x25
#define READ_MULTIPLE 0xC4
#define SET_MULTIPLE_MODE 0xC6
#define IDENTIFY_DEVICE 0xEC

#define IDENTIFY_MOST_PER_BLOCK 47      /* low byte: sectors that READ MULTIPLE can give at once */
#define IDENTIFY_CAPABILITIES 49
#define IDENTIFY_HAS_DMA 0x0100
#define IDENTIFY_LBA_SECTORS 60         /* words 60 and 61 */
#define IDENTIFY_COMMANDS 83
#define IDENTIFY_HAS_48_BIT 0x0400

#define TIMEOUT_SECONDS 5
#define SLOWEST_TSC_HZ 1000000000       /* taken while the TSC has not been measured */
#define SECTORS_PER_COMMAND 128
#define DMA_FEWEST_SECTORS 8            /* less is read sooner than the bus master is told */

static uint32_t block_sectors = 1;      /* that the disk gives at once: waiting for it is what costs */
static bool has_dma;

static void read_words(void *buffer, uint32_t words) {
    __asm__ volatile("rep insw" : "+D"(buffer), "+c"(words) : "d"(DATA) : "memory");
}

/* The status is valid 400 ns after a command or a change of device: four reads of 100 ns. */
static void settle(void) {
    for (int i = 0; i < 4; i++)
        (void)inb(STATUS);
}

static uint64_t latest(void) {
    uint64_t hz = bareflow_status.tsc_hz != 0 ? bareflow_status.tsc_hz : SLOWEST_TSC_HZ;
    return rdtsc() + hz * TIMEOUT_SECONDS;
}

/* Waits until the disk is done, or has data to give. */
static int32_t wait_for(uint8_t wanted) {
    uint64_t end = latest();

    do {
        uint8_t status = inb(STATUS);
        if (status == STATUS_NO_DEVICE || status == 0)
            return DISK_NONE;
        if (status & STATUS_BSY)
            continue;
        if (status & (STATUS_ERR | STATUS_DF))
            return DISK_IO;
        if ((status & wanted) == wanted)
            return DISK_OK;
    } while (rdtsc() < end);
    return DISK_TIMEOUT;
}

static void command(uint32_t lba, uint32_t count, uint8_t code) {
    outb(DEVICE, (uint8_t)(DEVICE_SLAVE_LBA | (lba >> 24 & 0x0F)));
    settle();
    outb(SECTOR_COUNT, (uint8_t)count);
    outb(LBA_LOW, (uint8_t)lba);
    outb(LBA_MID, (uint8_t)(lba >> 8));
    outb(LBA_HIGH, (uint8_t)(lba >> 16));
    outb(COMMAND, code);
    settle();
}

/* With 48 bits each register is written twice, the higher bits first. */
static void command_extended(uint32_t lba, uint32_t count, uint8_t code) {
    outb(DEVICE, DEVICE_SLAVE_LBA & 0xF0);
    settle();
    outb(SECTOR_COUNT, (uint8_t)(count >> 8));
    outb(LBA_LOW, (uint8_t)(lba >> 24));
    outb(LBA_MID, 0);
    outb(LBA_HIGH, 0);
    outb(SECTOR_COUNT, (uint8_t)count);
    outb(LBA_LOW, (uint8_t)lba);
    outb(LBA_MID, (uint8_t)(lba >> 8));
    outb(LBA_HIGH, (uint8_t)(lba >> 16));
    outb(COMMAND, code);
}

/* Without it, a block is one sector. */
static void set_block(uint32_t sectors) {
    block_sectors = 1;
    if (sectors < 2)
        return;
    command(0, sectors, SET_MULTIPLE_MODE);
    if (wait_for(STATUS_DRDY) == DISK_OK)
        block_sectors = sectors;
}

/* False when there is no ATA disk; nothing hangs then. */
bool ata_identify(uint32_t *sectors) {
    uint16_t identity[SECTOR_BYTES / 2];

    command(0, 0, IDENTIFY_DEVICE);
    int32_t result = wait_for(STATUS_DRQ);
    if (result == DISK_NONE)
        return false;
    /* An ATAPI device refuses the command and leaves its signature here. */
    if (result == DISK_IO && (inb(LBA_MID) | inb(LBA_HIGH)) != 0)
        return false;
    if (result != DISK_OK) {
        kprintf("[ATA] The slave disk does not identify itself: %s\n",
                result == DISK_TIMEOUT ? "no answer in time" : "it reports an error");
        return false;
    }
    read_words(identity, SECTOR_BYTES / 2);
    *sectors = identity[IDENTIFY_LBA_SECTORS] | (uint32_t)identity[IDENTIFY_LBA_SECTORS + 1] << 16;
    set_block(identity[IDENTIFY_MOST_PER_BLOCK] & 0xFF);
    has_dma = (identity[IDENTIFY_CAPABILITIES] & IDENTIFY_HAS_DMA) != 0 &&
              (identity[IDENTIFY_COMMANDS] & IDENTIFY_HAS_48_BIT) != 0 && dma_find();
    return true;
}

static int32_t read_command(uint32_t lba, uint32_t count, uint8_t *to) {
    command(lba, count, block_sectors > 1 ? READ_MULTIPLE : READ_SECTORS);
    for (uint32_t done = 0; done < count;) {
        uint32_t now = count - done < block_sectors ? count - done : block_sectors;
        int32_t result = wait_for(STATUS_DRQ);
        if (result != DISK_OK) {
            uint8_t error = inb(ERROR);
            kprintf("[ATA] Reading sectors %u to %u failed: %s (status 0x%02x, error 0x%02x)\n", lba + done,
                    lba + done + now - 1, result == DISK_TIMEOUT ? "no answer in time" : "I/O error", inb(STATUS),
                    error);
            return result;
        }
        read_words(to + done * SECTOR_BYTES, now * SECTOR_BYTES / 2);
        settle();
        done += now;
    }
    return DISK_OK;
}

/* False = read it in the other way, which also finds out what is wrong. */
static bool read_by_dma(uint32_t lba, uint32_t count, uint8_t *to) {
    dma_prepare(to, count);
    command_extended(lba, count, READ_DMA_EXT);
    dma_start();
    uint64_t end = latest();
    while (dma_active() && rdtsc() < end)
        cpu_pause();
    return dma_stop() && wait_for(STATUS_DRDY) == DISK_OK;
}

uint32_t ata_transfer(void) {
    return has_dma ? BF_TRANSFER_DMA : BF_TRANSFER_PIO;
}

int32_t ata_read(uint32_t lba, uint32_t count, void *buffer) {
    uint8_t *to = buffer;
    int32_t result = DISK_OK;

    while (count > 0 && result == DISK_OK) {
        uint32_t now = count < DMA_MOST_SECTORS ? count : DMA_MOST_SECTORS;
        bool tried = has_dma && now >= DMA_FEWEST_SECTORS && dma_takes(to, now);
        if (!tried || !read_by_dma(lba, now, to)) {
            now = now < SECTORS_PER_COMMAND ? now : SECTORS_PER_COMMAND;
            result = read_command(lba, now, to);
            if (tried && result == DISK_OK) {
                kprintf("[ATA] The bus master does not read sector %u, the CPU does: from here on without it\n", lba);
                has_dma = false;
            }
        }
        event(BF_EVENT_DISK, 0, lba, now, (uint32_t)-result, 0);
        lba += now;
        count -= now;
        to += now * SECTOR_BYTES;
    }
    return result;
}
