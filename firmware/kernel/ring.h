/*
 * Emitting events: inline, because an event may cost no more than a few tens of nanoseconds under emulation.
 * Ring 0 belongs to the main context, ring 1 to interrupts and exceptions: no emission can be interrupted by
 * another into the same ring, so none needs CLI (which would double the cost).
 */
#pragma once

#define ring0 ((volatile struct bf_ring_header *)BF_RING0_HEADER)
#define ring1 ((volatile struct bf_ring_header *)BF_RING1_HEADER)

/* Waits for the reader of the full ring 0, unless it is dead. */
void ring_wait_for_reader(void);

static inline __attribute__((always_inline)) void ring_store(volatile struct bf_ring_header *ring, uint32_t records,
                                                             uint32_t capacity, uint64_t tsc, uint32_t type,
                                                             uint32_t id, uint32_t a, uint32_t b, uint32_t c,
                                                             uint32_t d) {
    uint32_t head = ring->head;
    struct bf_event *event = (struct bf_event *)records + (head & (capacity - 1));

    event->tsc = tsc;
    event->seq = head;
    *(uint32_t *)&event->type = type | (id & 0xFFFF) << 16;    /* type, cpu 0, id */
    event->arg[0] = a;
    event->arg[1] = b;
    event->arg[2] = c;
    event->arg[3] = d;
    /* The record is complete before the reader can see it. x86 keeps stores in order; this holds the compiler. */
    __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
}

/* Main context only. The mask is tested first: an event that is off costs one load and one branch. */
static inline __attribute__((always_inline)) void ring_emit(uint32_t type, uint32_t id, uint32_t a, uint32_t b,
                                                            uint32_t c, uint32_t d) {
    if (__builtin_expect((ring0->type_mask & 1u << type % 32) == 0, 0))
        return;
    if (__builtin_expect(ring0->mode != BF_RING_FLIGHT, 0)) {
        if (ring0->mode == BF_RING_OFF)
            return;
        if (ring0->head - ring0->tail >= BF_RING0_CAPACITY)
            ring_wait_for_reader();
    }
    ring_store(ring0, BF_RING0_RECORDS, BF_RING0_CAPACITY, rdtsc(), type, id, a, b, c, d);
}
