"""Do the event rings hold what happened, in order and whole, and does a reader that dies cost nothing?"""

from __future__ import annotations

import itertools
import re
import struct
import time
from collections.abc import Callable

import pytest
from kernel_view import Kernel
from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

LOSSLESS = layouts.const("BF_RING_LOSSLESS")
FLOOD = layouts.const("BF_SCENARIO_RING_FLOOD")
CALL = layouts.const("BF_EVENT_CALL")
CHUNK = 512  # few, so that a reader on a busy machine still beats within the half second of the living
MASK = layouts.const("BF_EVENT_DEFAULT_MASK")


@pytest.fixture(scope="module")
def kernel(idle_machine: Machine) -> Kernel:
    return Kernel(idle_machine)


def lcg(state: int) -> int:
    return (state * 1664525 + 1013904223) & 0xFFFFFFFF


def test_both_rings_begin_as_flight_recorders_with_the_default_mask(kernel: Kernel) -> None:
    for number, capacity in ((0, 65536), (1, 8192)):
        header = kernel.ring(number)
        assert header.magic == layouts.const("BF_RING_MAGIC")
        assert (header.capacity, header.record_size, header.ring) == (capacity, 32, number)
        assert (header.mode, header.type_mask) == (layouts.const("BF_RING_FLIGHT"), MASK)
        assert (header.dropped, header.waits, header.reader_deaths) == (0, 0, 0)


def test_events_are_numbered_without_a_gap_and_only_of_enabled_types(kernel: Kernel) -> None:
    events = kernel.events()
    assert [event.seq for event in events] == list(range(kernel.ring().head))
    assert all(MASK >> event.type % 32 & 1 and event.cpu == 0 for event in events)
    times = [event.tsc for event in events]
    assert times == sorted(times)


def test_every_boot_stage_is_in_the_ring_with_the_time_of_the_boot_record(kernel: Kernel) -> None:
    record = kernel.record("bf_boot_record", kernel.root.boot_record)
    stages = kernel.events_of("BOOT")
    assert [event.id for event in stages] == list(range(1, 15))
    assert all(abs(event.tsc - record.stage_tsc[event.id]) < kernel.status.tsc_hz // 10 for event in stages)


def test_ring_and_log_tell_the_same_swaps(kernel: Kernel) -> None:
    names = list(kernel.functions)
    told = re.findall(r"^\[RECOMPILE\] (\w+): O(\d) -> O(\d)$", kernel.log, re.MULTILINE)
    published = kernel.events_of("PUBLISH")
    seen = [(names[event.id], event.arg[3] & 7) for event in published]
    assert seen == [(name, int(level)) for name, _, level in told]
    assert len(published) == kernel.status.swap_count == kernel.log.count("[ATOMIC-SWAP]") == 36
    versions = {version.number: version for version in kernel.versions()}
    for event in published:
        version = versions[event.arg[3] >> 8]
        function = kernel.functions[names[event.id]]
        assert event.arg[0] == function.slot
        assert event.arg[2] == version.entry
        assert event.arg[3] >> 3 & 31 == version.reason == layouts.const("BF_REASON_THRESHOLD")


def test_a_swap_is_told_from_threshold_to_first_execution_in_order(kernel: Kernel) -> None:
    steps = ("THRESHOLD", "COMPILE_BEGIN", "EMIT", "COMPILE_END", "PUBLISH", "RETIRE", "FIRST_EXECUTION")
    for number in range(4):
        types = [event.type for event in kernel.events_of(*steps) if event.id == number]
        once = [layouts.const(f"BF_EVENT_{step}") for step in steps]
        initial = [layouts.const("BF_EVENT_EMIT"), layouts.const("BF_EVENT_FIRST_EXECUTION")]
        assert types == initial + once * 3


def test_threshold_events_carry_the_call_count_and_first_execution_is_the_next_call(kernel: Kernel) -> None:
    for number in range(4):
        thresholds = [e.arg[0] for e in kernel.events_of("THRESHOLD") if e.id == number]
        firsts = [e.arg[2] for e in kernel.events_of("FIRST_EXECUTION") if e.id == number]
        assert (thresholds, firsts) == ([10, 20, 30], [1, 11, 21, 31])


def test_emit_events_carry_the_code_and_its_crc(kernel: Kernel) -> None:
    versions = {version.number: version for version in kernel.versions()}
    emitted = kernel.events_of("EMIT")
    assert len(emitted) == 48
    for event in emitted:
        version = versions[event.arg[3]]
        assert tuple(event.arg[:3]) == (version.code, version.code_size, version.code_crc)


def test_pool_events_tell_every_block_of_the_pools_with_its_size(kernel: Kernel) -> None:
    """Also of those that were made smaller: what is left by the events is what the pools hold."""
    there: dict[tuple[int, int], int] = {}
    shrunk = 0
    for event in kernel.events_of("POOL_ALLOC", "POOL_FREE", "POOL_SHRINK"):
        place = event.id, event.arg[0]
        if event.type == layouts.const("BF_EVENT_POOL_ALLOC"):
            there[place] = event.arg[1]
        elif event.type == layouts.const("BF_EVENT_POOL_FREE"):
            assert there.pop(place) == event.arg[1]
        else:
            assert there[place] == event.arg[2] > event.arg[1]
            there[place] = event.arg[1]
            shrunk += 1
    assert shrunk > 0
    pools = Guest.attach(kernel.machine.memory()).kernel().pools().pools
    held = {
        (number, int(block.address)): block.size
        for number, pool in enumerate(pools)
        for block in pool.blocks
        if block.state == "used"
    }
    assert there == {place: size for place, size in held.items() if place in there}
    assert len(there) > 12


def test_console_events_add_up_to_the_log(kernel: Kernel) -> None:
    lines = kernel.events_of("CONSOLE")
    log = kernel.record("bf_log", kernel.root.log_buffer)
    assert all(a.arg[0] + a.id == b.arg[0] for a, b in itertools.pairwise(lines))
    assert lines[-1].arg[0] + lines[-1].id == log.written == len(kernel.log)


@pytest.mark.parametrize(("sample", "numbers"), [(0, [*range(1, 17), 64]), (1, [*range(1, 101)])])
def test_call_events_are_the_first_16_of_a_version_and_then_a_sample(
    booted: Callable[..., Machine], sample: int, numbers: list[int]
) -> None:
    machine = booted("registered", hold=1, thresholds=(100, 200, 300), call_sample=sample)
    kernel = Kernel(machine)
    kernel.set_ring("type_mask", MASK | 1 << CALL)
    kernel.set_root("hold", 0)
    wait_for_stage(machine, "idle")
    first = kernel.versions("sum")[0].number
    calls = [event for event in kernel.events_of("CALL") if event.arg[0] == first]
    assert len(calls) == len(numbers)
    for event in calls:
        assert (event.id, *event.arg[1:]) == (kernel.index("sum"), 1, 100, 5050)


def test_timer_interrupts_go_to_ring_1_when_asked_for(booted: Callable[..., Machine]) -> None:
    kernel = Kernel(booted())
    kernel.set_ring("type_mask", MASK | 1 << layouts.const("BF_EVENT_IRQ"), number=1)
    wait_for(lambda: kernel.ring(1).head >= 20, "20 timer interrupts in ring 1")
    kernel.set_ring("mode", layouts.const("BF_RING_OFF"), number=1)
    ticks = [event.arg[0] for event in kernel.events(1)[:20]]
    assert ticks == list(range(ticks[0], ticks[0] + 20))


def test_a_ring_that_is_off_takes_nothing(booted: Callable[..., Machine]) -> None:
    machine = booted("registered", hold=1)
    kernel = Kernel(machine)
    kernel.set_ring("mode", layouts.const("BF_RING_OFF"))
    head = kernel.ring().head
    kernel.set_root("hold", 0)
    wait_for_stage(machine, "idle")
    assert kernel.ring().head == head


def held_flood(booted: Callable[..., Machine]) -> Kernel:
    kernel = Kernel(booted("registered", hold=1, scenario=FLOOD))
    kernel.set_ring("tail", kernel.ring().head)
    kernel.set_ring("mode", LOSSLESS)
    return kernel


def test_a_dead_reader_stops_the_guest_for_half_a_second_only(booted: Callable[..., Machine]) -> None:
    kernel = held_flood(booted)
    kernel.set_root("hold", 0)
    dropped = wait_for(lambda: kernel.ring().dropped, "events overwritten behind the dead reader")
    wait_for(lambda: kernel.ring().dropped > dropped + 100_000, "the guest to run on at full speed")
    kernel.set_root("scenario_stop", 1)
    wait_for_stage(kernel.machine, "idle")
    header = kernel.ring()
    assert header.reader_deaths == 1
    assert header.waits >= header.dropped
    state = 0
    for _ in range(kernel.status.bench_emitted):
        state = lcg(state)
    assert kernel.status.bench_result == state


def test_a_slow_but_living_reader_loses_nothing(booted: Callable[..., Machine]) -> None:
    kernel = held_flood(booted)
    capacity, records = kernel.ring().capacity, kernel.ring().records
    tail, expected, state = kernel.ring().tail, 0, 0
    kernel.set_root("hold", 0)
    end = time.monotonic() + 2 * layouts.const("BF_HEARTBEAT_DEAD_MS") / 1000
    beats = 0
    while time.monotonic() < end or expected < 2 * capacity:
        head = min(kernel.ring().head, tail + CHUNK - tail % CHUNK)
        raw = kernel.read(records + tail % capacity * 32, (head - tail) * 32)
        for at in range(head - tail):
            _, seq, kind, i, x = struct.unpack_from("<QIB3xII", raw, at * 32)
            assert seq == tail + at, f"reader deaths: {kernel.ring().reader_deaths}"
            if kind == layouts.const("BF_EVENT_MARK"):
                state = lcg(state)
                assert (i, x) == (expected, state)
                expected += 1
        tail, beats = head, beats + 1
        kernel.set_ring("tail", tail)
        kernel.set_ring("heartbeat", beats)
    header = kernel.ring()
    assert (header.dropped, header.reader_deaths) == (0, 0)
    assert header.waits > 0, "the reader was slower than the guest, so the guest waited"


def test_the_cost_scenario_measures_the_three_loops_and_leaves_the_mask_alone(booted: Callable[..., Machine]) -> None:
    kernel = Kernel(booted(scenario=layouts.const("BF_SCENARIO_RING_COST")))
    status = kernel.status
    assert status.bench_iterations >= 10_000
    assert 0 < status.bench_empty_tsc < status.bench_off_tsc < status.bench_on_tsc
    assert (kernel.ring().type_mask, kernel.ring().mode) == (MASK, layouts.const("BF_RING_FLIGHT"))
    assert kernel.ring().head > 100 * status.bench_iterations
