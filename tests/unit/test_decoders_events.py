"""The end of a ring, and the swaps that table and events tell together."""

from __future__ import annotations

import pytest
from fake_guest import CODE, VERSIONS, Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.code.events import LAST, read_last, read_ring
from bareflow_gdb.guest.guest import Guest

HEADER = layouts.const("BF_RING0_HEADER")
RECORDS = layouts.const("BF_RING0_RECORDS")


def marks(count: int) -> FakeGuest:
    fake = FakeGuest()
    fake.events = [{"tsc": 10 * n, "type": 28, "id": n & 0xFFFF, "arg": (n, 0, 0, 0)} for n in range(count)]
    return fake


class Overtaking(Bytes):
    """A guest that writes `burst` events while a reader copies the records."""

    burst = 0

    def _fetch(self, address: int, size: int) -> bytes:
        data = super()._fetch(address, size)
        if address >= RECORDS and self.burst:
            head = int.from_bytes(self.ram[HEADER + 64 : HEADER + 68], "little")
            self.set(HEADER, "bf_ring_header", "head", head + self.burst)
        return data


def test_the_last_events_come_in_the_order_of_their_numbers() -> None:
    guest = Guest.attach(marks(20).build())
    assert [event.seq for event in guest.kernel().events(5)] == [15, 16, 17, 18, 19]
    assert guest.kernel().events(5)[-1].fields()["arg0"] == 19


def test_a_ring_that_wrapped_around_gives_its_last_lap() -> None:
    guest = Guest.attach(marks(1000).build())
    assert [event.seq for event in guest.kernel().events(300)] == list(range(1000 - 256, 1000))


def test_a_free_source_is_read_whole_and_a_costly_one_in_a_budget() -> None:
    fake = marks(300)
    fake.ring["capacity"] = 512
    free, costly = Guest.attach(fake.build()), Guest.attach(fake.build(Bytes(cost=1)))
    assert len(read_last(free.memory, free.root())) == 300
    assert len(read_last(costly.memory, costly.root())) == LAST


def test_a_record_of_another_lap_is_left_out() -> None:
    memory = marks(20).build()
    memory.set(RECORDS + 32 * 17, "bf_event", "seq", 17 + 256)
    assert [event.seq for event in Guest.attach(memory).kernel().events(4)] == [16, 18, 19]


def test_what_was_overtaken_during_the_copy_is_left_out() -> None:
    memory = Overtaking(live=True)
    marks(256).build(memory)
    memory.burst = 100
    root = Guest.attach(memory).root()
    assert [event.seq for event in read_last(memory, root)] == list(range(100, 256))


def test_only_the_types_asked_for_are_decoded() -> None:
    guest = Guest.attach(FakeGuest().build())
    found = read_last(guest.memory, guest.root(), types=frozenset({"publish"}))
    assert [(event.type, event.seq) for event in found] == [("publish", 1)]


def test_an_unknown_type_keeps_its_number() -> None:
    fake = marks(1)
    fake.events[0]["type"] = 200
    event = Guest.attach(fake.build()).kernel().events()[0]
    assert event.type == "unknown(200)"
    assert event.fields()["arg0"] == 0


@pytest.mark.parametrize(("field", "value"), [("capacity", 255), ("capacity", 1 << 31), ("record_size", 64)])
def test_a_ring_header_that_cannot_be_right_is_refused(field: str, value: int) -> None:
    memory = FakeGuest().build()
    memory.set(HEADER, "bf_ring_header", field, value)
    with pytest.raises(BadData, match="cannot be right"):
        Guest.attach(memory).kernel().events()


def test_the_mask_is_told_as_the_types_that_it_keeps_out() -> None:
    guest = Guest.attach(FakeGuest().build())
    ring = read_ring(guest.memory, guest.root(), 0)
    assert ring is not None
    assert ring.types_off == ("irq", "call")


def test_a_swap_has_its_call_and_its_times() -> None:
    swaps = Guest.attach(FakeGuest().build()).kernel().swaps()
    (swap,) = swaps.swaps
    assert (swap.function, swap.from_level, swap.to_level, swap.call) == ("alpha", 0, 1, 100)
    assert (swap.from_version, swap.to_version, swap.reason) == (1, 3, "threshold")
    assert (swap.old_code, swap.new_code) == (CODE + 0x10, CODE + 0x210)
    assert (swap.threshold_to_publish_us, swap.publish_to_first_us) == (1.0, 0.5)
    assert swaps.forgotten == 0


def test_without_events_the_tables_tell_the_same_swap() -> None:
    fake = FakeGuest()
    with_events = Guest.attach(fake.build()).kernel().swaps()
    fake.events = []
    assert Guest.attach(fake.build()).kernel().swaps() == with_events


def test_without_causes_the_threshold_event_tells_the_call() -> None:
    fake = FakeGuest()
    fake.root["version_causes"] = 0
    (swap,) = Guest.attach(fake.build()).kernel().swaps().swaps
    assert (swap.call, swap.tsc_threshold) == (100, 19_000)
    fake.events = []
    (swap,) = Guest.attach(fake.build()).kernel().swaps().swaps
    assert (swap.call, swap.tsc_threshold, swap.threshold_to_publish_us) == (None, None, None)
    assert (swap.tsc, swap.old_code) == (20_000, CODE + 0x10)


def rolled_back() -> FakeGuest:
    fake = FakeGuest()
    fake.versions[0] |= {"state": 3, "tsc_published": 30_000, "tsc_first": 600}
    fake.status["swap_count"] = 2
    return fake


def test_a_roll_back_shows_both_publications_of_the_version() -> None:
    fake = rolled_back()
    fake.events = [
        {"tsc": 510, "type": 15, "id": 0, "arg": (0, 0, CODE + 0x10, 1 << 8 | 1 << 3 | 0)},
        *fake.events,
        {"tsc": 30_005, "type": 19, "id": 0, "arg": (3, 1, 0, 0)},
        {"tsc": 30_010, "type": 15, "id": 0, "arg": (0, CODE + 0x210, CODE + 0x10, 1 << 8 | 5 << 3 | 0)},
    ]
    swaps = Guest.attach(fake.build()).kernel().swaps()
    told = [(s.from_level, s.to_level, s.reason, s.call) for s in swaps.swaps]
    assert told == [(0, 1, "threshold", 100), (1, 0, "rollback", None)]
    assert swaps.forgotten == 0


def test_a_roll_back_is_recognised_when_its_event_is_gone() -> None:
    fake = rolled_back()
    fake.events = []
    swaps = Guest.attach(fake.build()).kernel().swaps().swaps
    assert (swaps[-1].to_level, swaps[-1].reason, swaps[-1].old_code) == (0, "rollback", CODE + 0x210)


def test_swaps_that_nothing_tells_any_more_are_counted() -> None:
    fake = FakeGuest()
    fake.status["swap_count"] = 10
    assert Guest.attach(fake.build()).kernel().swaps().forgotten == 9


def test_equal_code_is_said_also_when_the_record_names_an_older_version() -> None:
    memory = FakeGuest().build()
    memory.set(VERSIONS + 128, "bf_version", "same_as", 1)
    (swap,) = Guest.attach(memory).kernel().swaps().swaps
    assert swap.same_code


def test_a_version_that_has_not_run_yet_has_no_first_execution() -> None:
    fake = FakeGuest()
    fake.versions[2]["tsc_first"] = 0
    fake.events = fake.events[:2]
    (swap,) = Guest.attach(fake.build()).kernel().swaps().swaps
    assert (swap.tsc_first, swap.publish_to_first_us) == (None, None)
