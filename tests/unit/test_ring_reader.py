"""The ring reader against a concurrent writer: a C program that does what the kernel does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.tracing.events import Batch
from bareflow_gdb.tracing.ring import MODE_FLIGHT, MODE_LOSSLESS, Asked, RingReader, Rings
from bareflow_gdb.tracing.segments import merged, to_events

CAPACITY = 4096
RECORDS = 0x1000


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("writer") / "ring_writer"
    source = Path(__file__).with_name("ring_writer.c")
    subprocess.run(["clang-19", "-O2", "-Wall", "-Werror", "-o", program, source], check=True)
    return program


def header(**changes: int) -> bytes:
    fields = {
        "magic": layouts.const("BF_RING_MAGIC"),
        "version": layouts.const("BF_RING_VERSION"),
        "capacity": CAPACITY,
        "record_size": 32,
        "records": RECORDS,
        "mode": MODE_FLIGHT,
        "type_mask": layouts.const("BF_EVENT_DEFAULT_MASK"),
    } | changes
    return layouts.pack("bf_ring_header", **fields)


class Guest:
    """A file that stands for QEMU's RAM, with one ring at 0."""

    def __init__(self, path: Path, **changes: int) -> None:
        self.path = path
        path.write_bytes(header(**changes).ljust(RECORDS, b"\0") + bytes(CAPACITY * 32))
        self.ram = QemuRam(path)

    def write(self, writer: Path, count: int, *freeze: int) -> subprocess.Popen[bytes]:
        arguments = [str(writer), str(self.path), "0", str(count), *map(str, freeze)]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path / "ram")


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def check(batch: Batch) -> None:
    """Every word of every record must belong to its sequence number: a torn record would not."""
    events = batch.events
    seq = np.arange(batch.first, batch.first + len(events), dtype=np.uint64).astype(np.uint32)
    assert np.array_equal(events["seq"], seq)
    assert np.array_equal(events["tsc"], seq.astype(np.uint64) * 3)
    assert np.array_equal(events["id"], seq.astype(np.uint16))
    arguments = np.stack([seq, ~seq, seq ^ np.uint32(0x5A5A5A5A), seq + np.uint32(7)], axis=1)
    assert np.array_equal(events["arg"], arguments)


def test_lossless_mode_loses_nothing_however_fast_the_guest_writes(guest: Guest, writer: Path) -> None:
    count = 3_000_000
    taken = 0
    with Rings(guest.ram, [0]) as rings:
        process = guest.write(writer, count)
        while process.poll() is None or rings.readers[0].pending:
            for batch in rings.drain():
                check(batch)
                assert batch.first == taken and batch.lost == 0
                taken += len(batch.events)
        counts = rings.counts()[0]
    assert taken == count == counts.events
    assert counts.lost == 0


def test_flight_mode_never_returns_a_torn_record_and_accounts_for_every_lost_one(
    guest: Guest, writer: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    count = 5_000_000
    reader = RingReader(guest.ram, 0)
    reader.attach(lossless=False)
    process = guest.write(writer, count)
    processes.append(process)
    taken = lost = 0
    wait_for(lambda: reader.pending > 2 * CAPACITY, "the writer to overtake the reader")
    while process.poll() is None or reader.pending:
        batch = reader.drain()
        check(batch)
        assert batch.first == taken + lost + batch.lost
        taken += len(batch.events)
        lost += batch.lost
        time.sleep(0.0005)
    assert taken + lost == count
    assert taken and lost


def test_a_record_that_is_half_overwritten_is_lost_not_returned(
    guest: Guest, writer: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    reader = RingReader(guest.ram, 0)
    reader.attach(lossless=False)
    process = guest.write(writer, CAPACITY + 1, CAPACITY)
    processes.append(process)
    assert process.stdout is not None and process.stdout.readline() == b"frozen\n"
    batch = reader.drain(CAPACITY)
    check(batch)
    assert (batch.first, batch.lost, len(batch.events)) == (1, 1, CAPACITY - 1)


def test_sequence_numbers_go_on_past_two_to_the_32(tmp_path: Path, writer: Path) -> None:
    start = 2**32 - 1000
    guest = Guest(tmp_path / "ram", head=start)
    reader = RingReader(guest.ram, 0)
    reader.attach(lossless=False, past=False)
    assert guest.write(writer, 3000).wait() == 0
    first = reader.drain(1500)
    second = reader.drain(CAPACITY)
    check(first)
    check(second)
    assert (first.first, second.first, second.first + len(second.events)) == (start, start + 1500, start + 3000)


def test_attaching_takes_what_the_flight_recorder_still_holds(guest: Guest, writer: Path) -> None:
    assert guest.write(writer, 100).wait() == 0
    reader = RingReader(guest.ram, 0)
    reader.attach(lossless=False)
    batch = reader.drain()
    check(batch)
    assert (batch.first, len(batch.events)) == (0, 100)


@pytest.mark.parametrize("before", [100, CAPACITY - 1, 3 * CAPACITY + 7])
def test_what_was_there_at_the_attachment_waits_for_the_first_drain(
    guest: Guest, writer: Path, processes: list[subprocess.Popen[bytes]], before: int
) -> None:
    assert guest.write(writer, before).wait() == 0
    first = max(0, before - CAPACITY + 1)
    with Rings(guest.ram, [0]) as rings:
        processes.append(guest.write(writer, 2 * CAPACITY))
        wait_for(lambda: rings.counts()[0].guest_waits, "the guest to find its ring full")
        (batch,) = rings.drain()
        check(batch)
        assert (batch.first, batch.lost, len(batch.events)) == (first, 0, CAPACITY - 1)


def test_the_mode_is_given_back_and_the_heart_beats_while_attached(guest: Guest) -> None:
    with Rings(guest.ram, [0]) as rings:
        assert rings.readers[0].mode == MODE_LOSSLESS
        words = guest.ram.view(0, layouts.size("bf_ring_header"), "ring header").cast("I")
        heartbeat = layouts.offset("bf_ring_header", "heartbeat") // 4
        before = words[heartbeat]
        wait_for(lambda: words[heartbeat] >= before + 10, "ten beats of the heart")
    assert words[layouts.offset("bf_ring_header", "mode") // 4] == MODE_FLIGHT


def test_a_ring_that_somebody_switched_off_stays_off(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "ram", mode=0)
    with Rings(guest.ram, [0]) as rings:
        assert rings.readers[0].mode == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"magic": 0},
        {"version": 9},
        {"capacity": 3},
        {"capacity": 1 << 31},
        {"record_size": 16},
        {"records": 0x7FFFFFFC},
        {"records": 0x1002},
    ],
)
def test_a_header_that_cannot_be_right_is_refused(tmp_path: Path, damage: dict[str, int]) -> None:
    with pytest.raises(BareflowError):
        RingReader(Guest(tmp_path / "ram", **damage).ram, 0)


def test_rings_are_merged_in_the_order_of_time() -> None:
    def batch(ring: int, *times: int) -> Batch:
        events = np.zeros(len(times), layouts.numpy_dtype("bf_event"))
        events["tsc"] = times
        return Batch(ring, events, 100 * ring, 0)

    events = to_events(merged([batch(1, 5, 6, 30), batch(0, 1, 5, 40)]))
    assert events["tsc"].tolist() == [1, 5, 5, 6, 30, 40]
    assert events["ring"].tolist() == [0, 1, 0, 1, 1, 0]
    assert events["seq"].tolist() == [0, 100, 1, 101, 102, 2]


def test_a_second_reader_is_refused_but_not_after_the_first_was_killed(guest: Guest) -> None:
    with Rings(guest.ram, [0]):
        with pytest.raises(UsageError, match="already"), Rings(guest.ram, [0]):
            pass
        assert RingReader(guest.ram, 0).mode == MODE_LOSSLESS
    mode = layouts.offset("bf_ring_header", "mode")
    guest.ram.write(mode, MODE_LOSSLESS.to_bytes(4, "little"), "a mode left behind")
    with Rings(guest.ram, [0]) as rings:
        assert rings.readers[0].mode == MODE_LOSSLESS
    assert RingReader(guest.ram, 0).mode == MODE_FLIGHT


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_a_ring_in_use_is_refused_whatever_the_modes(guest: Guest, lossless: bool, second: bool) -> None:
    with Rings(guest.ram, [0], lossless=lossless) as rings:
        mode = rings.readers[0].mode
        with pytest.raises(UsageError, match="recorded already"), Rings(guest.ram, [0], lossless=second):
            pass
        assert rings.readers[0].mode == mode


def test_the_claim_of_a_dead_flight_reader_lapses(guest: Guest) -> None:
    heartbeat = layouts.offset("bf_ring_header", "heartbeat")
    guest.ram.write(heartbeat, (77).to_bytes(4, "little"), "a heartbeat left behind")
    with Rings(guest.ram, [0]) as rings:
        assert rings.readers[0].mode == MODE_LOSSLESS


def test_what_was_overwritten_before_the_first_drain_is_not_lost(guest: Guest, writer: Path) -> None:
    """As on the interrupts' ring, which never waits for its reader."""
    assert guest.write(writer, 2 * CAPACITY).wait() == 0
    reader = RingReader(guest.ram, 0)
    reader.attach(lossless=False)
    assert guest.write(writer, 5).wait() == 0
    batch = reader.drain()
    check(batch)
    assert (batch.first, batch.lost, len(batch.events)) == (CAPACITY + 6, 0, CAPACITY - 1)
    counts = reader.counts()
    assert (counts.first, counts.events, counts.lost) == (CAPACITY + 6, CAPACITY - 1, 0)


def test_what_was_written_after_the_attachment_and_overwritten_is_lost(guest: Guest, writer: Path) -> None:
    assert guest.write(writer, 2 * CAPACITY).wait() == 0
    reader = RingReader(guest.ram, 0)
    reader.attach(lossless=False)
    assert guest.write(writer, CAPACITY + 100).wait() == 0
    batch = reader.drain()
    check(batch)
    assert (batch.first, batch.lost, len(batch.events)) == (2 * CAPACITY + 101, 101, CAPACITY - 1)
    assert reader.counts().first == 2 * CAPACITY
    assert guest.write(writer, CAPACITY + 10).wait() == 0
    assert reader.drain().lost == 11


def test_a_ring_that_the_guest_sets_up_anew_ends_the_reading_without_a_false_loss(guest: Guest, writer: Path) -> None:
    assert guest.write(writer, 100).wait() == 0
    reader = RingReader(guest.ram, 0)
    reader.attach(lossless=False)
    reader.drain()
    guest.ram.write(layouts.offset("bf_ring_header", "head"), bytes(4), "head after a reboot")
    assert len(reader.drain().events) == 0
    assert reader.restarted and reader.counts().lost == 0


def test_records_copied_while_the_guest_sets_its_ring_up_anew_are_no_loss(guest: Guest, writer: Path) -> None:
    class ResetAfterOneLook(RingReader):
        armed = False

        @property
        def head(self) -> int:
            found = super().head
            if self.armed:
                guest.ram.write(layouts.offset("bf_ring_header", "head"), bytes(4), "head after a reboot")
            return found

    assert guest.write(writer, 100).wait() == 0
    reader = ResetAfterOneLook(guest.ram, 0)
    reader.attach(lossless=False)
    reader.drain(50)
    reader.armed = True
    batch = reader.drain()
    assert (batch.first, len(batch.events), batch.lost, reader.restarted) == (50, 50, 0, True)


def test_the_mask_of_types_has_a_bit_for_each_also_when_one_is_asked_for_twice() -> None:
    publish, shrink = (layouts.const(f"BF_EVENT_{name}") for name in ("PUBLISH", "POOL_SHRINK"))
    assert Asked(("publish", "publish")).mask(0xFF) == 1 << publish
    assert shrink == 32 and Asked(also=("pool_shrink", "publish")).mask(0) == 1 | 1 << publish
    with pytest.raises(UsageError, match="no kernel writes events of type counted"):
        Asked(("counted",)).mask(0)
