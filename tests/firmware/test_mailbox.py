"""Does the guest install what a host hands over correctly, refuse the rest, and run on either way?"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from kernel_view import Kernel, MailHost, returning
from machines import wait_for
from references import REFERENCES

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.machine import Machine

Booted = Callable[..., Machine]
INSTALLED = layouts.const("BF_MAIL_INSTALLED")
REJECTED = layouts.const("BF_MAIL_REJECTED")


def reason(name: str) -> int:
    return layouts.const(f"BF_REASON_{name}")


@pytest.fixture
def kernel(booted: Booted) -> Kernel:
    return Kernel(booted())


@pytest.fixture
def host(kernel: Kernel) -> MailHost:
    return MailHost(kernel, "primes")


def transitions(kernel: Kernel) -> list[tuple[int, int]]:
    return [(event.arg[0], event.arg[1]) for event in kernel.events_of("MAILBOX")]


def states(*names: str) -> list[int]:
    return [layouts.const(f"BF_MAIL_{name}") for name in names]


def test_a_request_names_bitcode_level_and_the_places_to_link_for(kernel: Kernel, host: MailHost) -> None:
    slot = host.ask(2)
    function = kernel.functions["primes"]
    assert (slot.request, slot.level_wanted, slot.ask) == (1, 2, 0)
    assert (slot.bitcode, slot.bitcode_size) == (function.bitcode, function.bitcode_size)
    header = kernel.record("bitcode_header_t", slot.bitcode)
    assert header.magic == layouts.const("BITCODE_MAGIC")
    assert header.bitcode_size + 128 == slot.bitcode_size
    assert kernel.read(slot.bitcode + 128, 4) == b"BC\xc0\xde"
    assert (slot.code_capacity, slot.rodata_capacity) == (8192, 2048)
    assert slot.code_address % 16 == slot.rodata_address % 16 == 0
    line = f"[MAILBOX] primes: request 1 for O2 at 0x{slot.code_address:08x}\n"
    assert line in kernel.log


def test_good_code_is_installed_published_called_and_checked(kernel: Kernel, host: MailHost) -> None:
    swaps = kernel.status.swap_count
    slot = host.ask(3)
    code = returning(168)
    host.stage(code)
    slot = host.wait_until_done(1)
    version = kernel.versions("primes")[-1]
    assert (slot.done_state, slot.done_reason, slot.done_version) == (INSTALLED, 0, version.number)
    assert version.state == layouts.const("BF_VERSION_PUBLISHED")
    assert version.provider == layouts.const("BF_PROVIDER_HOST")
    assert (version.code, version.entry, version.code_size) == (slot.code_address, slot.code_address, len(code))
    assert kernel.read(version.code, version.code_size) == code
    assert version.rodata == version.rodata_size == 0
    assert kernel.status.swap_count == swaps + 1
    wait_for(lambda: f"[CALL] primes: version {version.number} at O3: 168 " in kernel.log, "the first call")
    assert kernel.versions("primes")[-1].tsc_first > version.tsc_published
    assert f"[MAILBOX] primes: installed version {version.number} at O3\n" in kernel.log
    assert kernel.functions["primes"].version == version.number


def test_every_transition_is_told_in_the_ring(kernel: Kernel, host: MailHost) -> None:
    host.ask(3)
    host.move("COMPILING")
    wait_for(lambda: len(transitions(kernel)) == 2, "the guest to see COMPILING")
    host.stage(returning(168))
    host.wait_until_done(1)
    path = states("IDLE", "REQUESTED", "COMPILING", "READY", "INSTALLED", "IDLE")
    assert transitions(kernel) == list(itertools.pairwise(path))


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"code__crc": 0x12345678}, "BAD_CRC"),
        ({"code__size": 8193}, "BAD_BOUNDS"),
        ({"code__size": 0, "code__crc": 0}, "BAD_BOUNDS"),
        ({"code__size": 0xFFFFFFFF}, "BAD_BOUNDS"),
        ({"code__offset": 0x8000}, "BAD_BOUNDS"),
        ({"code__offset": 0xFFFFFFF0}, "BAD_BOUNDS"),
        ({"code__address": 0x10000}, "BAD_BOUNDS"),
        ({"rodata__size": 2049}, "BAD_BOUNDS"),
        ({"rodata__size": 16, "rodata__address": 0x10000}, "BAD_BOUNDS"),
        ({"rodata__size": 16, "rodata__offset": 64}, "BAD_CRC"),
        ({"entry_offset": 10}, "BAD_BOUNDS"),
        ({"entry_offset": 0xFFFFFFFF}, "BAD_BOUNDS"),
        ({"level": 4}, "BAD_BOUNDS"),
    ],
)
def test_what_is_staged_wrong_is_rejected_and_the_guest_keeps_its_code(
    kernel: Kernel, host: MailHost, wrong: dict[str, int], expected: str
) -> None:
    before = kernel.functions["primes"].version
    used = [kernel.pool(kind).stats.used for kind in ("CODE", "DATA")]
    image = kernel.read(0x10000, 4096)
    slot = host.ask(3)
    host.stage(returning(168), **wrong)
    slot = host.wait_until_done(1)
    assert (slot.done_state, slot.done_reason, slot.done_version) == (REJECTED, reason(expected), 0)
    assert kernel.functions["primes"].version == before
    assert [kernel.pool(kind).stats.used for kind in ("CODE", "DATA")] == used
    assert kernel.read(0x10000, 4096) == image
    text = {"BAD_CRC": "bad CRC", "BAD_BOUNDS": "bad bounds"}[expected]
    assert f"[MAILBOX] primes: rejected: {text}\n" in kernel.log
    (told,) = kernel.events_of("REJECT")
    assert (told.id, told.arg[0], told.arg[1]) == (host.number, reason(expected), 1)
    host.ask(3)
    host.stage(returning(168))
    assert host.wait_until_done(2).done_state == INSTALLED


def test_a_host_that_cannot_compile_rejects_and_gets_another_chance(kernel: Kernel, host: MailHost) -> None:
    host.ask(3)
    host.move("COMPILING")
    host.set("reason", reason("BAD_BITCODE"))
    host.move("REJECTED")
    slot = host.wait_until_done(1)
    assert (slot.done_state, slot.done_reason) == (REJECTED, reason("BAD_BITCODE"))
    assert "[MAILBOX] primes: rejected: bad bitcode\n" in kernel.log
    assert host.ask(3).request == 2


def test_a_function_that_needs_more_room_gets_a_new_address(host: MailHost) -> None:
    first = host.ask(3)
    host.move("COMPILING")
    host.set("need_code", 20000)
    host.set("need_rodata", 4000)
    host.move("NEED_MORE")
    slot = host.wait_for("REQUESTED")
    assert (slot.code_capacity, slot.rodata_capacity) == (20000, 4000)
    assert slot.request == first.request
    code = returning(168).ljust(20000, b"\x90")
    host.stage(code)
    assert host.wait_until_done(1).done_state == INSTALLED


def test_more_room_than_the_staging_area_holds_is_refused(host: MailHost) -> None:
    host.ask(3)
    host.move("COMPILING")
    host.set("need_code", 0x8000)
    host.move("NEED_MORE")
    assert host.wait_until_done(1).done_reason == reason("BAD_BOUNDS")


def test_a_vetoed_function_is_not_swapped_by_the_host(kernel: Kernel, host: MailHost) -> None:
    before = kernel.functions["primes"].version
    host.ask(3)
    host.set("control", layouts.const("BF_CONTROL_VETO"))
    host.stage(returning(168))
    slot = host.wait_until_done(1)
    assert (slot.done_state, slot.done_reason) == (REJECTED, reason("VETOED"))
    host.set("ask", 4)
    host.ring_doorbell()
    assert host.wait_until_done(2).done_reason == reason("VETOED")
    assert len(kernel.events_of("VETO")) == 2
    assert kernel.functions["primes"].version == before


def test_a_vetoed_function_stays_at_o0_through_all_thresholds(booted: Booted) -> None:
    machine = booted("registered", hold=1)
    kernel = Kernel(machine)
    MailHost(kernel, "sum").set("control", layouts.const("BF_CONTROL_VETO"))
    kernel.set_root("hold", 0)
    wait_for_stage(machine, "idle")
    levels = {name: function.level for name, function in kernel.functions.items()}
    assert levels == {name: 0 if name == "sum" else 3 for name in REFERENCES}
    assert kernel.log.count("[VETO] sum: stays at O0\n") == 1
    (told,) = kernel.events_of("VETO")
    assert (told.id, told.arg[0], told.arg[1]) == (kernel.index("sum"), 1, reason("THRESHOLD"))


def test_a_level_is_forced_by_the_functions_own_provider(kernel: Kernel, host: MailHost) -> None:
    host.control("FORCE", 1, until="ALLOW")
    function = kernel.functions["primes"]
    version = kernel.versions("primes")[-1]
    assert (function.level, function.version, version.level) == (1, version.number, 1)
    assert version.reason == reason("FORCED")
    wait_for(lambda: "at O1: 168 (expected: 168)\n" in kernel.log, "the forced version's first call")
    host.control("FORCE", 9, until="ALLOW")
    assert kernel.functions["primes"].version == version.number


def test_a_rollback_publishes_the_old_version_again_and_vetoes_the_next(kernel: Kernel, host: MailHost) -> None:
    o0, *_, o3 = kernel.versions("primes")
    host.control("ROLLBACK", o0.number, until="VETO")
    function = kernel.functions["primes"]
    assert (function.version, function.level) == (o0.number, 0)
    (current,) = struct.unpack("<I", kernel.read(function.slot, 4))
    assert current == o0.entry
    found = {version.number: version.state for version in kernel.versions("primes")}
    assert found[o0.number] == layouts.const("BF_VERSION_PUBLISHED")
    assert found[o3.number] == layouts.const("BF_VERSION_RETIRED")
    (told,) = kernel.events_of("ROLLBACK")
    assert tuple(told.arg[:2]) == (o3.number, o0.number)
    wait_for(lambda: f"[CALL] primes: version {o0.number} at O0: 168 " in kernel.log, "its call")
    assert kernel.versions("primes")[0].tsc_first == o0.tsc_first, "it was executed long ago"


def test_a_rollback_to_another_functions_version_is_refused(kernel: Kernel, host: MailHost) -> None:
    before = kernel.functions["primes"].version
    host.control("ROLLBACK", kernel.versions("sum")[0].number, until="VETO")
    assert kernel.functions["primes"].version == before
    assert "is not a retired one of this function" in kernel.log


def test_a_host_that_never_answers_costs_nothing(booted: Booted) -> None:
    machine = booted("registered", hold=1)
    kernel = Kernel(machine)
    host = MailHost(kernel, "fibonacci")
    host.ask(3)
    kernel.set_root("hold", 0)
    wait_for_stage(machine, "idle")
    assert all(function.level == 3 for function in kernel.functions.values())
    assert host.slot.state == layouts.const("BF_MAIL_REQUESTED")


def test_a_question_to_a_busy_slot_is_answered_when_it_is_idle(host: MailHost) -> None:
    host.ask(3)
    host.set("ask", 2)
    host.ring_doorbell()
    host.stage(returning(168))

    def requested_again() -> Any:
        slot = host.slot
        return slot if slot.request == 2 else None

    slot = wait_for(requested_again, "the second request")
    assert (slot.done_request, slot.level_wanted) == (1, 1)


def test_version_numbers_are_never_reused_and_only_freed_records_are(kernel: Kernel, host: MailHost) -> None:
    for request in range(1, 9):
        host.ask(3)
        host.stage(returning(168))
        host.wait_until_done(request)
    numbers = [version.number for version in kernel.versions()]
    assert len(set(numbers)) == len(numbers) == kernel.status.version_count
    assert kernel.status.version_count == 4 * len(REFERENCES) + 8
    counted: dict[int, int] = {}
    for version in kernel.versions("primes"):
        counted[version.state] = counted.get(version.state, 0) + 1
    published, retired, freed = (layouts.const(f"BF_VERSION_{s}") for s in ("PUBLISHED", "RETIRED", "FREED"))
    assert counted == {published: 1, retired: 4, freed: 7}
    freed_lines = re.findall(r"\[FREE\] primes: version (\d+)", kernel.log)
    assert [int(number) for number in freed_lines] == [event.arg[0] for event in kernel.events_of("FREE")]


def test_equal_code_from_the_host_is_named_as_such(kernel: Kernel, host: MailHost) -> None:
    for request in (1, 2):
        host.ask(3)
        host.stage(returning(168))
        host.wait_until_done(request)
    first, second = kernel.versions("primes")[-2:]
    assert (first.same_as, second.same_as) == (0, first.number)
    assert "[RECOMPILE] primes: O3 code equals O3\n" in kernel.log
