"""One screen: where the guest is, what is wrong, what to do next; a broken part costs only itself."""

from __future__ import annotations

import itertools

import pytest
from fake_guest import EXCEPTION, STATUS, Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.status import Status

SLOTS = layouts.const("BF_MAILBOX_SLOTS")


def status(fake: FakeGuest) -> Status:
    return Guest.attach(fake.build()).kernel().status()


def test_a_guest_in_order_is_ok_and_points_to_the_functions() -> None:
    record = status(FakeGuest())
    assert record.ok
    assert [(f.name, f.level, f.version) for f in record.functions] == [("alpha", 1, 3), ("beta", 0, 2)]
    assert (record.pools[0].kind, record.pools[0].used) == ("code", 1280)
    assert "`jit`" in record.next_step


def test_before_stage_1_there_is_no_boot_record_and_it_says_so() -> None:
    record = Guest.attach(Bytes()).kernel().status()
    assert (record.stage, record.ok) == ("unknown", False)
    assert "no boot record" in record.problems[0]


def test_in_early_boot_nothing_is_wrong_yet() -> None:
    memory = Bytes()
    fields = FakeGuest().boot | {"stage": 2, "sectors_read": 0, "sectors_needed": 0, "signature": 0}
    memory.put(layouts.const("BF_BOOT_RECORD_ADDRESS"), layouts.pack("bf_boot_record", **fields))
    record = Guest.attach(memory).kernel().status()
    assert (record.stage, record.ok, record.abi) == ("stage2", True, "")


def test_while_the_kernel_boots_a_mailbox_that_is_not_up_is_no_problem() -> None:
    fake = FakeGuest()
    fake.boot["stage"] = layouts.const("BF_STAGE_CORE")
    memory = fake.build()
    memory.set(layouts.const("BF_MAILBOX_HEADER"), "bf_mailbox", "magic", 0)
    memory.set(layouts.const("BF_RING0_HEADER"), "bf_ring_header", "magic", 0)
    record = Guest.attach(memory).kernel().status()
    assert (record.stage, record.problems) == ("core", ())
    assert "reboots in a loop" in record.next_step
    asked = registry.run(Subject(Guest.attach(memory).kernel), ["records"])
    assert asked.findings == ()
    memory.set(layouts.const("BF_BOOT_RECORD_ADDRESS"), "bf_boot_record", "stage", 14)
    assert len(Guest.attach(memory).kernel().status().problems) == 2


def test_a_fatal_loader_error_is_the_first_problem() -> None:
    fake = FakeGuest()
    fake.boot |= {"stage": 3, "fatal": 0xD1}
    record = status(fake)
    assert "FATAL ERROR: 0xD1" in record.problems[0]
    assert "`boot`" in record.next_step


def test_an_exception_is_told_with_its_place_and_the_next_step() -> None:
    fake = FakeGuest()
    fake.exception |= {"count": 1, "vector": 14, "eip": 0x200234}
    record = status(fake)
    assert (record.exception, record.exception_eip) == ("#PF page fault", 0x200234)
    assert "`identify 0x200234`" in record.next_step


def test_a_held_guest_says_what_it_waits_for() -> None:
    fake = FakeGuest()
    fake.boot["stage"] = 12
    fake.root["hold"] = 1
    record = status(fake)
    assert record.held
    assert "`release`" in record.next_step


def test_a_request_that_waits_for_the_host_is_open_mail() -> None:
    memory = FakeGuest().build()
    memory.put(SLOTS, layouts.pack("bf_mail_slot", state=1))
    record = Guest.attach(memory).kernel().status()
    assert record.mail == ("alpha: requested",)
    assert "`recompile`" in record.next_step


def test_a_request_that_the_guest_has_overtaken_needs_no_answer() -> None:
    memory = FakeGuest().build()
    memory.put(
        SLOTS, layouts.pack("bf_mail_slot", state=1, level_wanted=1, requested_by=layouts.const("BF_REASON_THRESHOLD"))
    )
    record = Guest.attach(memory).kernel().status()
    assert record.mail == ("alpha: requested O1, overtaken",)
    assert "`recompile`" not in record.next_step


@pytest.mark.parametrize("stage", ["CORE", "POOLS", "MODULES"])
def test_while_the_kernel_boots_its_functions_are_not_offered(stage: str) -> None:
    fake = FakeGuest()
    fake.boot["stage"] = layouts.const(f"BF_STAGE_{stage}")
    assert "`jit`" not in status(fake).next_step


def test_a_wrong_result_after_the_run_is_a_problem() -> None:
    fake = FakeGuest()
    fake.functions[1]["last_result"] = 1
    assert status(fake).problems == ("beta returned 1 last, 6,765 is expected",)


@pytest.mark.parametrize("stage", ["BF_STAGE_RUNNING", "BF_STAGE_IDLE"])
def test_a_function_that_was_never_called_has_no_last_result(stage: str) -> None:
    fake = FakeGuest()
    fake.boot["stage"] = layouts.const(stage)
    fake.functions[1]["last_result"] = 0
    fake.profiles[1]["call_count"] = 0
    record = status(fake)
    assert [one.last_result for one in record.functions] == [6765, None]
    assert record.problems == ()
    jit = Guest.attach(fake.build()).kernel().jit()
    assert [one.last_result for one in jit.functions] == [6765, None]


def test_a_broken_part_is_a_problem_and_the_rest_is_shown() -> None:
    memory = FakeGuest().build()
    memory.set(EXCEPTION, "bf_exception", "magic", 1)
    memory.set(layouts.const("BF_RING0_HEADER"), "bf_ring_header", "magic", 1)
    memory.set(layouts.const("BF_MAILBOX_HEADER"), "bf_mailbox", "magic", 1)
    record = Guest.attach(memory).kernel().status()
    assert len(record.problems) == 3
    assert [ring.index for ring in record.rings] == [1]
    assert len(record.functions) == 2


def test_an_answer_about_tables_that_never_hold_still_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = FakeGuest().build()
    memory.live = True
    guest = Guest.attach(memory)
    assert guest.answer(lambda kernel: kernel.status()).unknown == ()
    really, counts = memory._fetch, itertools.count(5)

    def fetch_and_count(address: int, size: int) -> bytes:
        memory.set(STATUS, "bf_status", "swap_count", next(counts))
        return really(address, size)

    monkeypatch.setattr(memory, "_fetch", fetch_and_count)
    answer = guest.answer(lambda kernel: kernel.status())
    assert answer.unknown == (
        "whether its parts are of one moment: the guest changed them at every look; pause the machine and ask again",
    )
    assert answer.record.ok, "that is no fault of the guest"


def test_functions_that_something_wrote_over_are_one_problem_and_no_rows() -> None:
    fake = FakeGuest()
    fake.functions[1] |= {"level": 2_365_872, "last_result": 7, "expected": 8}
    record = status(fake)
    assert record.problems == (
        "the kernel's tables are implausible: something wrote over them: 1 of 2 functions at a level that there is not",
    )
    assert record.functions == ()
