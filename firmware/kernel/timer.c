/* Time: the 8254 interval timer (Intel 8254 data sheet) ticks at 250 Hz and measures the TSC's frequency. */
#include "defs.h"

#define PIT_HZ 1193182
#define CHANNEL0 0x40
#define CHANNEL2 0x42
#define CONTROL 0x43
#define CHANNEL0_RATE 0x34          /* both bytes, mode 2 */
#define CHANNEL2_COUNT_DOWN 0xB0    /* both bytes, mode 0 */
#define CHANNEL2_LATCH 0x80
#define PORT_B 0x61                 /* bit 0: gate of channel 2; bit 1: speaker */
#define PORT_B_GATE2 0x01
#define PORT_B_SPEAKER 0x02
#define TIMER_LINE 0

static volatile uint32_t ticks;

static void tick(struct interrupt_frame *frame) {
    (void)frame;
    ticks++;
    if (event_irq)
        event_irq(TIMER_LINE, ticks);
}

void timer_init(void) {
    uint16_t divisor = (PIT_HZ + TIMER_HZ / 2) / TIMER_HZ;
    outb(CONTROL, CHANNEL0_RATE);
    outb(CHANNEL0, (uint8_t)divisor);
    outb(CHANNEL0, (uint8_t)(divisor >> 8));
    irq_set_handler(TIMER_LINE, tick);
    pic_unmask(TIMER_LINE);
}

uint32_t timer_ticks(void) {
    return ticks;
}

/* One look at channel 2's counter, and the TSC at that time. */
struct sample {
    uint64_t tsc;
    uint16_t count;
};

/* The quickest of eight looks: one during which the host took the CPU away is not it. */
static struct sample look(void) {
    struct sample best = {0};
    uint64_t shortest = UINT64_MAX;
    for (int tries = 0; tries < 8; tries++) {
        uint64_t before = rdtsc();
        outb(CONTROL, CHANNEL2_LATCH);
        uint64_t after = rdtsc();
        uint16_t low = inb(CHANNEL2);
        uint16_t count = (uint16_t)(low | inb(CHANNEL2) << 8);
        if (after - before < shortest) {
            shortest = after - before;
            best = (struct sample){before + shortest / 2, count};
        }
    }
    return best;
}

/* How far the TSC goes while channel 2 counts 10 ms down from its largest count, which lasts 55 ms. */
uint64_t timer_measure_tsc_hz(void) {
    uint8_t port = inb(PORT_B) & (uint8_t)~(PORT_B_SPEAKER | PORT_B_GATE2);
    outb(PORT_B, port | PORT_B_GATE2);
    outb(CONTROL, CHANNEL2_COUNT_DOWN);
    outb(CHANNEL2, 0xFF);
    outb(CHANNEL2, 0xFF);
    struct sample start = look(), end;
    do
        end = look();
    while ((uint16_t)(start.count - end.count) < PIT_HZ / 100);
    outb(PORT_B, port);
    return (end.tsc - start.tsc) * PIT_HZ / (uint16_t)(start.count - end.count);
}
