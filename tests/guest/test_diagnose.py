"""`bareflow diagnose`: an image is started and watched; what is wrong is told by its cause, a healthy one has none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from machines import Assemble, Boot
from museum.images import Hall
from program import bareflow

from bareflow_gdb.qemu.machine import Machine

PROTECTED = """
    cli
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 8:flat
bits 32
flat: mov ax, 16
    mov ds, ax
    mov ss, ax
    mov esp, 0x7c00
    lidt [table]
    {}
stands: jmp stands
table: dw {}
    dd 0
gdt: dq 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr: dw 23
    dd gdt
"""
KEYBOARD_RESET = "mov al, 0xfe\nout 0x64, al\nstands: jmp stands"
WAITS_FOR_A_KEY = "again: in al, 0x64\ntest al, 1\njz again\njmp again"
WAITS_FOR_A_DEVICE = "mov dx, 0x1f7\nagain: in al, dx\ncmp al, 0x5a\njne again\nhlt"


def diagnosed(image: Path, *options: str, code: int) -> dict[str, Any]:
    """The diagnosis of an image that is started, as a program reads it."""
    done = bareflow("diagnose", str(image), "--json", *options)
    assert done.returncode == code, done.stderr + done.stdout
    return dict(json.loads(done.stdout))


def only(record: dict[str, Any]) -> dict[str, Any]:
    """The finding of its only cause."""
    (cause,) = record["causes"]
    return dict(cause["finding"])


@pytest.mark.parametrize(
    ("code", "limit", "names", "next_step"),
    [
        ("movaps xmm0, xmm1", 0, ("#UD invalid opcode", "movaps xmm0, xmm1", "its limit is 0"), "-mno-sse"),
        ("ud2", 0, ("#UD invalid opcode", "`ud2`"), "breakpoint"),
        ("xor ecx, ecx\ndiv ecx", 0, ("#DE divide error", "`div ecx`"), "breakpoint"),
        # The vectors of real mode, taken for gates.
        ("ud2", 0x7FF, ("#UD invalid opcode", "`ud2`", "#GP general protection"), "breakpoint"),
    ],
)
def test_a_triple_fault_is_told_with_its_first_exception(
    code: str, limit: int, names: tuple[str, ...], next_step: str, boot_sector: Assemble
) -> None:
    record = diagnosed(boot_sector(PROTECTED.format(code, limit)), code=1)
    assert record["watched"]["ending"] == "reset"
    finding = only(record)
    assert finding["what"].startswith(f"the machine is reset by a triple fault, after {names[0]}")
    for name in names:
        assert name in finding["evidence"]
    assert next_step in finding["next_step"]


def test_a_reset_without_an_exception_is_the_guests_own(boot_sector: Assemble) -> None:
    finding = only(diagnosed(boot_sector(KEYBOARD_RESET), code=1))
    assert finding["what"] == "the guest resets the machine itself"


def test_a_loop_is_a_hang_and_told_with_what_it_reads(boot_sector: Assemble) -> None:
    finding = only(diagnosed(boot_sector(PROTECTED.format("", 0)), code=1))
    assert finding["what"] == "the guest hangs"
    finding = only(diagnosed(boot_sector(WAITS_FOR_A_DEVICE), code=1))
    assert finding["what"] == "the guest hangs"
    assert finding["evidence"].endswith("reading port 0x1f7")


def test_a_guest_that_waits_for_a_key_is_well(boot_sector: Assemble) -> None:
    record = diagnosed(boot_sector(WAITS_FOR_A_KEY), code=0)
    assert [note["what"] for note in record["notes"]] == ["the guest waits for a key"]


def test_a_healthy_image_has_no_cause_and_leaves_nothing(image: Path) -> None:
    before = {machine.name for machine in Machine.all()}
    record = diagnosed(image, "--timeout", "300", code=0)
    assert record["causes"] == []
    assert record["watched"]["ending"] == "arrived"
    assert {machine.name for machine in Machine.all()} == before


def test_a_kept_machine_stands_at_the_fault(boot_sector: Assemble) -> None:
    done = bareflow("diagnose", str(boot_sector(PROTECTED.format("ud2", 0))), "--keep")
    name = done.stdout.rsplit("`bareflow stop ", 1)[1].split("`")[0]
    machine = Machine.find(name)
    try:
        assert machine.status() == "shutdown"
        code = machine.memory().read(machine.memory().cpu().general["eip"], 2, "code")
        assert code == b"\x0f\x0b"
    finally:
        machine.stop()


# It prints for some seconds, and sleeps between two ticks of the timer with the same registers each time.
SLEEPS = """
    xor ax, ax
    mov ds, ax
    mov dx, 0x3f8
    mov al, '.'
    sti
again: hlt
    cmp word [left], 0
    je again
    dec word [left]
    test word [left], 7
    jnz again
    out dx, al
    jmp again
left: dw 64
"""
GOES_ASTRAY = "mov eax, 0xe0000000\njmp eax"


def test_a_guest_that_sleeps_between_interrupts_is_in_no_loop(boot_sector: Assemble) -> None:
    assert diagnosed(boot_sector(SLEEPS), code=0)["watched"]["ending"] == "arrived"


def test_a_cpu_that_runs_where_no_memory_is_is_told_so(boot_sector: Assemble) -> None:
    record = diagnosed(boot_sector(PROTECTED.format(GOES_ASTRAY, 0)), "--timeout", "300", code=1)
    assert record["watched"]["ending"] == "runs"
    finding = only(record)
    assert finding["what"] == "the CPU runs where there is no memory"
    assert "memory ends at 0x04000000" in finding["evidence"]


def test_a_disk_of_modules_alone_is_looked_at_as_a_volume(firmware: Path, tmp_path: Path) -> None:
    assert diagnosed(firmware / "fat16.img", code=0)["passed"] == ["disk_files"]
    hall = Hall(firmware, firmware, tmp_path)
    hall.take_disk(firmware / "fat16.img")
    hall.circle("FFT_1D.BC")
    assert hall.disk is not None
    assert only(diagnosed(hall.disk, code=1))["what"].startswith(
        "the file FFT_1D.BC of the module disk is damaged: its"
    )


def test_a_running_machine_is_asked_as_it_is(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector("stands: jmp stands"))
    record = json.loads(bareflow("diagnose", machine.name, "--json").stdout)
    assert record["watched"] is None
    assert "start" in record["not_asked"]
