/* Time: the 8254 interval timer (Intel 8254 data sheet) ticks at 250 Hz and measures the TSC's frequency. */
#include "defs.h"

#define PIT_HZ 1193182
#define CHANNEL0 0x40
#define CHANNEL2 0x42
#define CONTROL 0x43
#define CHANNEL0_RATE 0x34          /* both bytes, mode 2 */
#define CHANNEL2_ONE_SHOT 0xB0      /* both bytes, mode 0: OUT rises at the end of the count */
#define PORT_B 0x61                 /* bit 0: gate of channel 2; bit 1: speaker; bit 5: OUT of channel 2 */
#define PORT_B_GATE2 0x01
#define PORT_B_SPEAKER 0x02
#define PORT_B_OUT2 0x20
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

/* TSC ticks while channel 2 counts `count` down. */
static uint64_t measure(uint16_t count) {
    uint8_t port = inb(PORT_B) & (uint8_t)~(PORT_B_SPEAKER | PORT_B_GATE2);
    outb(PORT_B, port | PORT_B_GATE2);
    outb(CONTROL, CHANNEL2_ONE_SHOT);
    outb(CHANNEL2, (uint8_t)count);
    outb(CHANNEL2, (uint8_t)(count >> 8));
    uint64_t start = rdtsc();
    while (!(inb(PORT_B) & PORT_B_OUT2))
        cpu_pause();
    uint64_t end = rdtsc();
    outb(PORT_B, port);
    return end - start;
}

/*
 * Three windows of 4 ms, the median counts: a host that takes the CPU away from an emulated guest at the end of a
 * window lengthens it, at the start it shortens it.
 */
uint64_t timer_measure_tsc_hz(void) {
    const uint16_t count = PIT_HZ / 250;
    uint64_t a = measure(count), b = measure(count), c = measure(count);
    uint64_t low = a < b ? a : b, high = a < b ? b : a;
    uint64_t median = c < low ? low : c > high ? high : c;
    return median * PIT_HZ / count;
}
