/* The event rings: setting them up, waiting for a lossless reader, and the core's own events. */
#include "defs.h"
#include "ring.h"

#define TIMER_LINE 0
#define EFLAGS_IF 0x200         /* Intel SDM volume 1, section 3.4.3 */

/* Half a second, for a machine whose TSC could not be measured. */
#define FALLBACK_DEAD_TICKS 500000000u

static struct {
    bool dead;
    uint32_t heartbeat;         /* as it was when the reader was found dead */
} reader;

static void set_up(volatile struct bf_ring_header *ring, uint32_t index, uint32_t records, uint32_t capacity) {
    memset((void *)ring, 0, sizeof *ring);
    ring->version = BF_RING_VERSION;
    ring->capacity = capacity;
    ring->record_size = sizeof(struct bf_event);
    ring->records = records;
    ring->mode = BF_RING_FLIGHT;
    ring->type_mask = BF_EVENT_DEFAULT_MASK;
    ring->ring = index;
    __atomic_store_n(&ring->magic, BF_RING_MAGIC, __ATOMIC_RELEASE);
}

/* The stages before this one are in the boot record only: they enter ring 0 with the time they were reached. */
void ring_init(void) {
    set_up(ring0, 0, BF_RING0_RECORDS, BF_RING0_CAPACITY);
    set_up(ring1, 1, BF_RING1_RECORDS, BF_RING1_CAPACITY);
    for (uint32_t stage = 1; stage < BF_BOOT_STAGES; stage++)
        if (boot_record->stage_tsc[stage] != 0)
            ring_store(ring0, BF_RING0_RECORDS, BF_RING0_CAPACITY, boot_record->stage_tsc[stage], BF_EVENT_BOOT,
                       stage, 0, 0, 0, 0);
}

void ring_wait_for_reader(void) {
    uint64_t limit = bareflow_status.tsc_hz != 0 ? bareflow_status.tsc_hz * BF_HEARTBEAT_DEAD_MS / 1000
                                                 : FALLBACK_DEAD_TICKS;
    uint32_t heartbeat = ring0->heartbeat;
    uint64_t since = rdtsc();

    ring0->waits++;
    if (reader.dead && reader.heartbeat == heartbeat) {
        ring0->dropped++;
        return;
    }
    reader.dead = false;
    while (ring0->mode == BF_RING_LOSSLESS && ring0->head - ring0->tail >= BF_RING0_CAPACITY) {
        if (ring0->heartbeat != heartbeat) {
            heartbeat = ring0->heartbeat;
            since = rdtsc();
        } else if (rdtsc() - since > limit) {
            reader.dead = true;
            reader.heartbeat = heartbeat;
            ring0->reader_deaths++;
            ring0->dropped++;
            return;
        }
        cpu_pause();
    }
}

void event(uint32_t type, uint32_t id, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    ring_emit(type, id, a, b, c, d);
}

/* From interrupts and exceptions: never waits. */
static void interrupt_event(uint32_t type, uint32_t id, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    if ((ring1->type_mask & 1u << type % 32) == 0 || ring1->mode == BF_RING_OFF)
        return;
    if (ring1->mode == BF_RING_LOSSLESS && ring1->head - ring1->tail >= BF_RING1_CAPACITY)
        ring1->dropped++;
    ring_store(ring1, BF_RING1_RECORDS, BF_RING1_CAPACITY, rdtsc(), type, id, a, b, c, d);
}

void event_boot(uint32_t stage) {
    event(BF_EVENT_BOOT, stage, 0, 0, 0, 0);
}

void event_exception(const struct bf_exception *record) {
    interrupt_event(BF_EVENT_EXCEPTION, record->vector, record->eip, record->error_code, record->cr2, 0);
}

void event_irq(uint32_t line, uint32_t tick) {
    if (line == TIMER_LINE)
        bareflow_status.irq_count = tick;
    interrupt_event(BF_EVENT_IRQ, line, tick, 0, 0, 0);
}

/* Handlers run with interrupts off, the main context with interrupts on. */
void event_console(uint32_t bytes, uint32_t position) {
    uint32_t eflags;

    __asm__ volatile("pushfl; popl %0" : "=r"(eflags));
    if (eflags & EFLAGS_IF)
        event(BF_EVENT_CONSOLE, bytes, position, 0, 0, 0);
    else
        interrupt_event(BF_EVENT_CONSOLE, bytes, position, 0, 0, 0);
}
