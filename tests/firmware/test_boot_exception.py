"""Does every CPU exception end in a record, a report on COM1 and on the screen, and a quiet halt?

The fault is planted: the first instructions of `bareflow_run` in a copy of the disk image are replaced.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, image_crc, read_image_header
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

FIRMWARE = Path(__file__).parents[2] / "build" / "firmware"
IMAGE = FIRMWARE / "fluid.img"
KERNEL = layouts.const("BF_IMAGE_LBA") * SECTOR
BASE = layouts.const("BF_IMAGE_BASE")

# The registers hold known values at the fault, so that the record can be told from chance.
PREPARE = """
    mov ebx, 0x22222222
    mov esi, 0x33333333
    mov edi, 0x44444444
    mov ebp, 0x55555555
"""
FAULTS = {
    "divide error": (0, 0, "xor edx, edx\n xor ecx, ecx\n fault: div ecx"),
    "non-maskable interrupt": (2, 0, "int 2\n fault:"),
    "breakpoint": (3, 0, "int3\n fault:"),
    "overflow": (4, 0, "mov al, 127\n add al, 1\n into\n fault:"),
    "bound range exceeded": (5, 0, "push 0\n push 0\n mov eax, 9\n fault: bound eax, [esp]"),
    "invalid opcode": (6, 0, "fault: ud2"),
    "segment not present": (11, 0x21 * 8 + 2, "mov byte [idt + 0x21 * 8 + 5], 0x0E\n fault: int 0x21"),
    "general protection": (13, 0x1234, "mov ax, 0x1234\n fault: mov gs, ax"),
    "general protection, no such gate": (13, 0x80 * 8 + 2, "fault: int 0x80"),
    "page fault": (14, 0, "call page\n mov edi, 0x44444444\n fault: mov al, [0x08000000]"),
    "reserved 31": (31, 0, "int 31\n fault:"),
}
# Identity paging of the first 64 MiB by 4 MiB pages, so that one address beyond them faults.
PAGING = """
page:
    mov edi, 0xF00000
    mov cr3, edi
    mov eax, 0x83
.next:
    stosd
    add eax, 0x400000
    cmp eax, 0x4000083
    jb .next
    mov eax, cr4
    or al, 0x10
    mov cr4, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    ret
"""


@dataclass(frozen=True)
class Fault:
    code: bytes
    eip: int  # that the record must show


def assembled(body: str, directory: Path, place: str = "bareflow_run") -> Fault:
    """nasm's code for `body` at the function `place`; its label `fault` says what EIP must be."""
    source = directory / "fault.asm"
    start, idt = symbols()[place], symbols()["idt"]
    source.write_text(f"bits 32\norg {start}\n%define idt {idt}\n{PREPARE}\n{body}\n jmp $\n{PAGING}\n dd fault\n")
    subprocess.run(["nasm", "-f", "bin", "-o", directory / "fault.bin", source], check=True)
    code = (directory / "fault.bin").read_bytes()
    return Fault(code[:-4], int.from_bytes(code[-4:], "little"))


def symbols() -> dict[str, int]:
    with (FIRMWARE / "kernel.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}


@pytest.fixture
def crash(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Boots a copy of the image whose function `place` begins with this code, and waits for the halt."""
    machines: list[Machine] = []

    def start(code: bytes, place: str = "bareflow_run") -> Machine:
        disk = bytearray(IMAGE.read_bytes())
        at = KERNEL + symbols()[place] - BASE
        disk[at : at + len(code)] = code
        kernel = disk[KERNEL : KERNEL + read_image_header(IMAGE).image_bytes]
        crc = KERNEL + layouts.offset("bf_image_header", "crc")
        disk[crc : crc + 4] = image_crc(bytes(kernel)).to_bytes(4, "little")
        image = tmp_path / "crash.img"
        image.write_bytes(disk)
        machines.append(launch(image, directory=tmp_path / "vm"))
        wait_for_stage(machines[-1], "halted")
        return machines[-1]

    yield start
    for machine in machines:
        machine.stop()


def exception(machine: Machine) -> Any:
    address, size = symbols()["bareflow_exception"], layouts.size("bf_exception")
    return layouts.unpack("bf_exception", machine.memory().read(address, size, "exception record"))


@pytest.mark.parametrize("name", FAULTS)
def test_an_exception_is_recorded_told_and_ends_the_run(
    crash: Callable[[bytes], Machine], tmp_path: Path, name: str
) -> None:
    vector, error_code, body = FAULTS[name]
    fault = assembled(body, tmp_path)
    machine = crash(fault.code)
    record = exception(machine)
    assert record.magic == layouts.const("BF_EXCEPTION_MAGIC")
    assert (record.count, record.vector, record.error_code) == (1, vector, error_code)
    assert (record.cs, record.eip) == (0x08, fault.eip)
    assert (record.ebx, record.esi, record.edi) == (0x22222222, 0x33333333, 0x44444444)
    assert record.ebp == 0x55555555
    assert layouts.const("BF_STACK_BOTTOM") < record.esp <= layouts.const("BF_STACK_TOP")
    assert record.cr0 & 1
    assert record.cr2 == (0x08000000 if vector == 14 else 0)
    where = fault.eip - symbols()["bareflow_run"]
    assert record.code.startswith(fault.code[where : where + 16])
    screen = machine.read_screen()[::2].decode("latin-1")
    for text in (machine.serial(), screen):
        assert "[EXCEPTION] CPU Exception caught!" in text
        assert f"vector {vector} (" in text
        assert f"error code 0x{error_code:08x}, EIP 0x{fault.eip:08x}" in text
        assert f"EBX 0x{record.ebx:08x}" in text
        assert f"EBP 0x{record.ebp:08x} ESP 0x{record.esp:08x}" in text
    assert machine.serial().endswith("[EXCEPTION] System halted.\n")


def test_an_exception_while_one_is_told_keeps_the_first_and_halts(
    crash: Callable[[bytes], Machine], tmp_path: Path
) -> None:
    kprintf = symbols()["kprintf"]
    fault = assembled(f"mov word [{kprintf}], 0x0B0F\n int3\n fault:", tmp_path)
    machine = crash(fault.code)
    record = exception(machine)
    assert (record.count, record.vector, record.eip) == (2, 3, fault.eip)
    assert f"[EXCEPTION] again: vector 6, EIP 0x{kprintf:08x}" in machine.serial()


def test_an_exception_is_the_last_event_of_the_interrupt_ring(
    crash: Callable[[bytes, str], Machine], tmp_path: Path
) -> None:
    # Not in bareflow_run, whose first act is to set up the rings.
    place = "module_print_stats"
    fault = assembled(FAULTS["general protection"][2], tmp_path, place)
    memory = crash(fault.code, place).memory()
    root = layouts.unpack("bf_root", memory.read(symbols()["bareflow_root"], layouts.size("bf_root"), "root"))
    size = layouts.size("bf_ring_header")
    ring = layouts.unpack("bf_ring_header", memory.read(root.rings[1], size, "ring 1"))
    at = ring.records + (ring.head - 1) % ring.capacity * ring.record_size
    event = layouts.unpack("bf_event", memory.read(at, ring.record_size, "event"))
    assert event.type == layouts.const("BF_EVENT_EXCEPTION")
    assert (event.id, event.arg[0], event.arg[1]) == (13, fault.eip, 0x1234)


@pytest.mark.parametrize("stack", [0, 0xA8000, 0xF0000, 0x10000000, 0xFFFFFFF0])
def test_a_fault_with_a_stack_pointer_outside_ram_is_still_recorded(
    crash: Callable[[bytes], Machine], tmp_path: Path, stack: int
) -> None:
    fault = assembled(f"mov esp, {stack}\n fault: ud2", tmp_path)
    machine = crash(fault.code)
    record = exception(machine)
    assert (record.count, record.vector, record.eip) == (1, 6, 0)
    assert (record.ebx, record.esi, record.edi) == (0x22222222, 0x33333333, 0x44444444)
    assert record.ebp == 0x55555555
    assert abs((record.esp - stack + (1 << 31)) % (1 << 32) - (1 << 31)) <= 20
    assert "ESP is not in RAM" in machine.serial()


def test_all_32_exception_vectors_have_their_own_gate(crash: Callable[[bytes], Machine]) -> None:
    machine = crash(b"\x0f\x0b")
    table = machine.memory().read(symbols()["idt"], 32 * 8, "interrupt descriptor table")
    stubs = set()
    for vector in range(32):
        low, segment, zero, kind, high = struct.unpack_from("<HHBBH", table, vector * 8)
        assert (segment, zero, kind) == (0x08, 0, 0x8E)
        stubs.add(high << 16 | low)
    assert len(stubs) == 32
