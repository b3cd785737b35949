"""What a kernel prints of itself is held to what is so; what it prints of other things is left alone."""

from __future__ import annotations

import pytest
from stock_guest import StockGuest

from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.guest.guest import Guest

FIRST = "[serial] init ok\n"


def findings(check: str, log: str) -> list[str]:
    subject = Subject(Guest.attach(StockGuest().build()).kernel, serial=lambda: log)
    return [finding.what for finding in registry.run(subject, [check]).findings]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Kernel loaded at 0x00001000", "0x1000"),
        ("[info] kernel base address: 0x100000", "0x100000"),
        ("[boot] LBA boot, 179 sectors at 0x00008000, 64,512 KiB above 1 MiB", "0x8000"),
        ("Kernel loaded at 0x00010000", ""),
        ("kernel entry 0x10004", ""),
        ("Kernel heap at 0x100000", ""),
        ("kernel stack base 0x90000", ""),
        ("[EXCEPTION] kernel fault at 0x00000000", ""),
        ("the kernel " + "at " * 9000 + "0x1000", ""),
    ],
)
def test_a_wrong_place_of_the_kernel_is_told(line: str, told: str) -> None:
    said = findings("told_wrong", f"{FIRST}{line}\n")
    assert said == ([f"the kernel says that it is at {told}, and is at 0x10000"] if told else [])


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (
            "[Call 1] x\n[Call 101] Now\nTotal calls: 100\n",
            "the statistics count 100 calls, and call 101 was made before",
        ),
        ("[Call 1] x\n[Call 101] Now\nTotal calls: 150\n[Call 9000] x\nTotal calls: 10001\n", ""),
        ("[Call 5000] x\n[ADAPTIVE-JIT] Initialized\n[Call 1] x\nTotal calls: 4\n", ""),
        ("Total calls: 4\n", ""),
    ],
)
def test_statistics_that_count_fewer_calls_than_were_told_are_a_finding(log: str, told: str) -> None:
    assert findings("told_wrong", FIRST + log) == ([told] if told else [])


@pytest.mark.parametrize(
    ("before", "bad"),
    [
        ("[boot] kernel\n", True),
        ("DYNAMIC MODULE SYSTEM\n", True),
        ("SeaBIOS (version 1.16.2)\nBooting from Hard Disk...\n", False),
        ("", False),
    ],
)
def test_what_is_printed_before_com1_is_set_up_is_a_finding(before: str, bad: bool) -> None:
    assert bool(findings("serial_order", before + FIRST + "[cpu] i686\n")) == bad
