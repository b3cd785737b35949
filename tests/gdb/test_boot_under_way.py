"""While the guest boots, what is not known yet is no fact, and what is not there yet is no fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gdb_harness import KERNEL, Gdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
SECTORS_READ = layouts.const("BF_BOOT_RECORD_ADDRESS") + layouts.offset("bf_boot_record", "sectors_read")
ASKED = ("bf boot", "bf status", "bf doctor")


def moments(gdb: Gdb, machine: Machine, *ways: tuple[str, ...]) -> list[str]:
    """What boot, status and doctor say after each of these ways on."""
    told = [words for way in ways for words in (*way, "echo \\nMOMENT\\n", *ASKED)]
    result = gdb.run(f"bf attach {machine.name}", *told, elf=KERNEL)
    return result.out.split("\nMOMENT\n")[1:]


def test_each_moment_of_the_boot_tells_what_is_known_by_then(gdb: Gdb, image: Path, launched: Boot) -> None:
    begun, sector, half, kernel = moments(
        gdb,
        launched(image, paused=True),
        ("bf break-boot stage2 --run",),
        (f"watch *(int *) {SECTORS_READ}", "continue", "continue"),
        ("continue",),
        ("delete", "bf break-boot kernel --run"),
    )
    assert "not known yet how many are needed" in begun
    for label in ("signature", "CRC", "A20", "memory"):
        assert f"  {label:<9}  not known yet" in begun, label
    assert "  swaps       -" in begun
    assert "  signature  not known yet" in sector and "  A20        already on" in sector
    assert "128 of the kernel's " in half and "  signature  0x464c5544" in half and "  CRC        not known yet" in half
    assert "the header says" in kernel and "  pools       -" in kernel
    assert "cannot be compared yet" in begun and "cannot be compared yet" in sector
    for moment in (begun, sector, half):
        assert "there is no root descriptor yet: " in moment
    for moment in (begun, sector, half, kernel):
        assert "Doctor: nothing fails" in moment
        assert "problem" not in moment
        assert "wrote over" not in moment


def test_what_a_boot_before_left_in_the_rings_is_not_of_this_one(gdb: Gdb, booted: Callable[..., Machine]) -> None:
    first, again = moments(
        gdb,
        booted(),
        ("monitor system_reset", "bf break-boot kernel --run"),
        ("tbreak bareflow_run", "continue", "bf swaps", "bf events --last 3"),
    )
    for moment in (first, again):
        assert "  rings       -" in moment
        assert "events tell of" not in moment and "has magic" not in moment
    assert "not set up yet: the boot is at stage core" in again


def test_before_the_first_instruction_there_is_nothing_to_check(gdb: Gdb, image: Path, launched: Boot) -> None:
    result = gdb.run(f"bf attach {launched(image, paused=True).name}", "bf boot")
    assert "the guest has not begun; let it run" in result.out + result.err
