"""The boot record in words: how far, what was read, what was wrong."""

from __future__ import annotations

import pytest
from fake_guest import ROOT, Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.boot.boot import Boot
from bareflow_gdb.guest.guest import Guest

BASE = layouts.const("BF_IMAGE_BASE")


def boot(**changes: object) -> Boot:
    fake = FakeGuest()
    fake.boot |= changes
    return Guest.attach(fake.build()).kernel().boot()


def test_a_good_boot_has_no_problems_and_counts_milliseconds_from_stage_1() -> None:
    record = boot()
    assert record.ok
    assert record.problems == ()
    assert [(s.name, s.ms) for s in record.stages[:3]] == [("stage1", 0.0), ("stage2", 1.0), ("a20", 2.0)]
    assert (record.stages[-1].name, record.stages[-1].reached, record.stages[-1].ms) == ("halted", False, None)


def test_the_record_is_read_before_any_kernel_is_in_memory() -> None:
    memory = Bytes()
    fields = FakeGuest().boot | {"stage": 2, "stage_tsc": (0, 5, 9)}
    memory.put(layouts.const("BF_BOOT_RECORD_ADDRESS"), layouts.pack("bf_boot_record", **fields))
    record = Guest.attach(memory).kernel().boot()
    assert (record.stage, record.tsc_hz) == ("stage2", 0)
    assert record.stages[1].ms is None
    assert not record.ok


def test_no_boot_record_is_told_with_the_next_step() -> None:
    with pytest.raises(BadData, match=r"no boot record at 0x00000600: .*check that the disk image"):
        Guest.attach(Bytes()).kernel().boot()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stage": 4, "fatal": 0x51, "signature": 0}, "FATAL ERROR: 0x51: the image in memory does not begin"),
        ({"stage": 2, "fatal": 0xA2}, "FATAL ERROR: 0xA2: no method turned the A20 line on"),
        ({"stage": 3, "fatal": 0xD1, "bios_status": 0x20}, "failed with BIOS status 0x20"),
        ({"stage": 5, "fatal": 0xD2, "crc_computed": 1}, "CRC is 0x00000001, its header says 0x00001234"),
        ({"stage": 3, "fatal": 0xE0}, "FATAL ERROR: 0xE0: there is no kernel on the disk"),
        ({"stage": 3, "fatal": 0x99}, "FATAL ERROR: 0x99: a code that this suite does not know"),
        ({"sectors_read": 300}, "300 of 320 sectors were read"),
        ({"sectors_needed": 600}, "the image needs 600 sectors, the loader holds 512"),
        ({"signature": 0x11223344}, "is 0x11223344, not FLUD"),
        ({"stage": 15}, "stopped for good"),
    ],
)
def test_each_fault_of_the_boot_is_a_sentence(changes: dict[str, object], sentence: str) -> None:
    record = boot(**changes)
    assert not record.ok
    assert any(sentence in problem for problem in record.problems), record.problems


def test_a_read_that_failed_before_the_chs_fallback_is_no_problem() -> None:
    assert boot(disk_method=2, bios_status=0x01).ok


def test_an_unknown_stage_is_shown_as_a_number() -> None:
    assert boot(stage=0xFFFFFFFF).stage == "unknown(4294967295)"


def test_a_root_whose_boot_record_pointer_is_bad_falls_back_to_the_fixed_place() -> None:
    fake = FakeGuest()
    fake.root["boot_record"] = 0xFFFFFFF0
    guest = Guest.attach(fake.build())
    assert guest.root().address == ROOT
    assert guest.kernel().boot().stage == "idle"
