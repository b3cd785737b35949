"""A record that is not in this memory costs no more than one that is wrong: the rest is answered, and it is said."""

from __future__ import annotations

from typing import Any

import pytest
from asking import ask, text_of
from fake_guest import BLOCKS, CAUSES, EXCEPTION, IMAGES, MODULE_FILES, RAM_BYTES, VERSIONS, Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.doctor import LIMITED, check_guest
from bareflow_gdb.guest.guest import Guest

BOOT = layouts.const("BF_BOOT_RECORD_ADDRESS")
MAILBOX = layouts.const("BF_MAILBOX_HEADER")
RING0, RING1 = layouts.const("BF_RING0_HEADER"), layouts.const("BF_RING1_HEADER")


def without(*starts: int, size: int = 64) -> Guest:
    """The fake guest in a memory that lacks `size` bytes from each of these addresses on."""
    memory = FakeGuest().build()
    edges = [0, *(edge for start in sorted(starts) for edge in (start, start + size)), RAM_BYTES]
    memory.ranges = tuple(zip(edges[::2], edges[1::2], strict=True))
    return Guest.attach(memory)


def what_it_lacks(guest: Guest, question: str, **given: Any) -> str:
    """Everything that the answer says of itself, as one text."""
    answer = ask(guest, question, **given)
    return "\n".join((text_of(question, answer.record), *answer.lines()))


@pytest.mark.parametrize(
    ("hole", "question", "still", "what"),
    [
        (BOOT, "status", "alpha", "boot record"),
        (MAILBOX, "status", "alpha", "mailbox"),
        (EXCEPTION, "status", "alpha", "exception record"),
        (RING1, "status", "alpha", "header of ring 1"),
        (MAILBOX, "jit", "alpha", "mailbox"),
        (VERSIONS, "jit", "alpha", "version table"),
        (CAUSES, "jit", "alpha", "version causes"),
        (VERSIONS, "swaps", "alpha", "version table"),
        (CAUSES, "swaps", "alpha", "version causes"),
        (BLOCKS, "pools", "metadata", "block table"),
        (IMAGES, "modules", "alpha", "module images"),
        (MODULE_FILES, "modules", "beta", "cannot be read"),
    ],
)
def test_a_record_that_is_not_there_is_told_and_the_rest_answered(
    hole: int, question: str, still: str, what: str
) -> None:
    text = what_it_lacks(without(hole), question)
    assert still in text
    assert what in text


def test_pools_without_their_blocks_claim_nothing_of_them() -> None:
    (code, *_) = ask(without(BLOCKS), "pools").record.pools
    assert (code.used, code.blocks, code.largest_free, code.problems) == (1280, (), None, ())


def test_a_header_that_is_missing_hides_no_other() -> None:
    modules = ask(without(MODULE_FILES), "modules").record.modules
    assert [module.header is None for module in modules] == [True, False]


def test_versions_that_are_missing_contradict_no_slot() -> None:
    record = ask(without(VERSIONS), "jit").record
    assert [function.agrees for function in record.functions] == [None, None]
    assert len(record.problems) == 1
    with pytest.raises(BadData, match="version table"):
        without(VERSIONS).kernel().jit_code()


def test_the_events_of_one_ring_are_told_without_the_other() -> None:
    kernel = without(RING1).kernel()
    assert {event.ring for event in kernel.events()} == {0}
    assert "header of ring 1" in kernel.unknown[0]
    with pytest.raises((BadData, ReadError), match="header of ring 0"):
        without(RING0, RING1).kernel().events()


def test_swaps_are_told_by_the_events_when_the_versions_are_missing() -> None:
    (swap,) = ask(without(VERSIONS), "swaps").record.swaps
    assert (swap.function, swap.to_level) == ("alpha", 1)


def test_a_stack_without_registers_and_record_says_both() -> None:
    with pytest.raises(BadData, match=r"no registers.*exception record.*--ebp"):
        without(EXCEPTION).kernel().stack()


def test_a_memory_without_its_first_kilobyte_is_limited_not_broken() -> None:
    states = {check.part: check.state for check in check_guest(without(0))}
    assert states["memory"] == LIMITED
    assert states["jit"] == "works"


def test_a_guest_in_whole_lacks_nothing() -> None:
    guest = Guest.attach(FakeGuest().build(Bytes()))
    assert ask(guest, "jit").record.problems == ()
    assert ask(guest, "swaps").unknown == ()
