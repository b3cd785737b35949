"""CPU registers, descriptor tables, screen, cache, kernel symbols: from bytes that a test has made."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from fake_guest import Bytes, FakeGuest, name

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.verbs.serial import follow
from bareflow_gdb.errors import BadData, Unreachable
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.machine.screen import read_screen
from bareflow_gdb.guest.names.elf import KernelSymbols, Symbol, load_elf
from bareflow_gdb.memory.cpu import parse_registers
from bareflow_gdb.memory.protocol import SCREEN_BYTES
from bareflow_gdb.render.hexdump import hexdump
from bareflow_gdb.render.screen import screen_text

REGISTERS = """
CPU#0\r
EAX=00000001 EBX=00000002 ECX=00000003 EDX=00000004\r
ESI=00000005 EDI=00000006 EBP=0008ffa0 ESP=0008ff98\r
EIP=0001849f EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r
ES =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\r
CS =0008 00000000 ffffffff 00cf9a00 DPL=0 CS32 [-R-]\r
SS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\r
DS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\r
FS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\r
GS =0010 00000000 ffffffff 00cf9300 DPL=0 DS   [-WA]\r
LDT=0000 00000000 0000ffff 00008200 DPL=0 LDT\r
TR =0000 00000000 0000ffff 00008b00 DPL=0 TSS32-busy\r
GDT=     00021000 00000027\r
IDT=     00022000 00000017\r
CR0=80000011 CR2=00000007 CR3=00000008 CR4=00000010\r
"""
CACHE = 0x2F800


class WithMonitor(Bytes):
    """Memory with a monitor that tells REGISTERS and nothing of PICs."""

    def monitor(self, command: str) -> str:
        return REGISTERS if command == "info registers" else "no such thing"


def test_the_monitors_registers_are_read() -> None:
    cpu = parse_registers(REGISTERS)
    assert (cpu.general["eip"], cpu.general["eflags"], cpu.general["edi"]) == (0x1849F, 0x246, 6)
    assert cpu.control == {"cr0": 0x80000011, "cr2": 7, "cr3": 8, "cr4": 0x10}
    assert (cpu.segments["cs"].selector, cpu.segments["idt"].base, cpu.segments["gdt"].limit) == (8, 0x22000, 39)


@pytest.mark.parametrize("text", ["", "nonsense", REGISTERS.replace("EIP", "RIP"), REGISTERS.replace("IDT=", "IDX=")])
def test_what_is_no_i386_cpu_is_one_sentence(text: str) -> None:
    with pytest.raises(BadData, match="this is not the CPU of an i386 guest"):
        parse_registers(text)


def test_descriptors_and_gates_are_decoded_and_bad_ones_named() -> None:
    memory = WithMonitor()
    code, small, task = 0x00CF9A000000FFFF, 0x0040F2123456000F, 0x0000890012340067
    memory.put(0x21000, struct.pack("<5Q", 0, code, small, task, 0x00CF12000000FFFF))
    good = struct.pack("<HHBBH", 0x0010, 8, 0, 0x8E, 0x0001)
    outside = struct.pack("<HHBBH", 0x8000, 8, 0, 0xEF, 0xFEE0)
    memory.put(0x22000, good + bytes(8) + outside)
    cpu = Guest(memory).kernel().cpu()
    assert cpu.mode == "protected with paging"
    assert (cpu.eflags, cpu.cr0, cpu.cr4) == (("PF", "ZF", "IF"), ("PE", "ET", "PG"), ("PSE",))
    found = [(d.selector, d.kind, d.base, d.limit, d.ring, d.present) for d in cpu.gdt]
    assert found == [
        (0, "null", 0, 0, 0, False),
        (8, "32-bit code", 0, 0xFFFFFFFF, 0, True),
        (16, "32-bit data, writable", 0x123456, 15, 3, True),
        (24, "TSS", 0x1234, 0x67, 0, True),
        (32, "32-bit data, writable", 0, 0xFFFFFFFF, 0, False),
    ]
    assert [(g.vector, g.kind, g.handler, g.ring) for g in cpu.gates] == [
        (0, "interrupt gate", 0x10010, 0),
        (2, "trap gate", 0xFEE08000, 3),
    ]
    assert cpu.gates_absent == 1
    assert any("vector 2 (NMI): its handler 0xfee08000 is in outside RAM" in text for text in cpu.problems)


@pytest.mark.parametrize("limit", ["3ff", "ffff"])
def test_what_the_bios_left_in_the_idt_register_is_not_the_kernels(limit: str) -> None:
    class Early(Bytes):
        def monitor(self, command: str) -> str:
            found = REGISTERS.replace("00022000 00000017", f"00000000 {limit:0>8}")
            return found if command == "info registers" else "no such thing"

    memory = Early()
    memory.put(0, struct.pack("<256I", *(0xF000FF53 + at for at in range(256))))
    cpu = Guest(memory).kernel().cpu()
    assert cpu.gates == ()
    (problem,) = cpu.problems
    assert "no IDT is loaded" in problem
    irq = Guest(memory).kernel().irq()
    assert (irq.problems, {line.handler for line in irq.lines}) == ((), {0})


def test_an_open_line_without_a_gate_is_a_problem() -> None:
    class Pics(WithMonitor):
        def monitor(self, command: str) -> str:
            pics = "pic1: irr=00 imr=ff isr=00 hprio=0 irq_base=28 x\r\npic0: irr=02 imr=e9 isr=10 hprio=0 irq_base=20"
            return pics if command == "info pic" else REGISTERS

    memory = Pics()
    memory.put(0x22000, struct.pack("<HHBBH", 0x0010, 8, 0, 0x8E, 0x0001))
    irq = Guest(memory).kernel().irq()
    assert [line.line for line in irq.lines if not line.masked] == [1, 2, 4]
    assert [line.line for line in irq.lines if line.requested] == [1]
    assert [line.line for line in irq.lines if line.in_service] == [4]
    assert len(irq.problems) == 2
    assert irq.problems[0] == "line 1 (keyboard) is not masked and vector 33 has no gate"


def test_the_screen_in_its_colours_and_without() -> None:
    class WithScreen(Bytes):
        def screen(self) -> bytes:
            cells = [(b"A", 0x1E), (b"\xc4", 0x1E), (b"\0", 0x07), (b"\x1b", 0x8C)]
            return b"".join(char + bytes([color]) for char, color in cells).ljust(SCREEN_BYTES, b"\0")

    screen = read_screen(WithScreen())
    assert screen.rows[0].text[:4] == "A─  "
    assert screen.rows[0].attributes[:8] == "1e1e078c"
    assert screen_text(screen, color=False) == "A─"
    row = screen_text(screen, color=True).splitlines()[1]
    assert row.startswith("|\x1b[0;93;44mA─\x1b[0;37;40m \x1b[0;91;40;5m ")
    with pytest.raises(Unreachable, match="does not contain the screen"):
        read_screen(Bytes())


def test_the_cache_lists_its_slots_the_oldest_first() -> None:
    fake = FakeGuest()
    fake.root["cache"] = CACHE
    memory = fake.build()
    used = [
        {"name": name("alpha"), "level": 2, "image": 0x240010, "image_size": 64, "state": 2, "tsc_last_used": 9},
        {"name": name("beta"), "level": 1, "image": 0x240110, "image_size": 64, "state": 1, "tsc_last_used": 5},
        {"name": name("bad"), "level": 9, "image": 0xB8000, "image_size": 64, "state": 7, "tsc_last_used": 6},
    ]
    raw = {"slot_count": 99, "hits": 3, "misses": 2, "evictions": 1, "slots": used + [{}] * 13}
    memory.put(CACHE, layouts.pack("bf_cache", **raw))
    cache = Guest.attach(memory).kernel().cache()
    assert (cache.capacity, cache.hits, cache.misses, cache.evictions) == (16, 3, 2, 1)
    assert [(slot.name, slot.state) for slot in cache.slots] == [
        ("beta", "filled"),
        ("bad", "unknown(7)"),
        ("alpha", "published"),
    ]
    assert len(cache.problems) == 3


@pytest.mark.parametrize(("minor", "said"), [(1, ""), (2, "lru@O1 was evicted, last used at TSC 9; old@O3 stayed, ")])
def test_a_wrong_eviction_is_read_from_kernels_that_tell_it(minor: int, said: str) -> None:
    fake = FakeGuest()
    fake.root |= {"cache": CACHE, "abi_minor": minor}
    memory = fake.build()
    left = {"name": name("lru"), "level": 1, "state": 1, "tsc_last_used": 9}
    older = {"name": name("old"), "level": 3, "state": 1, "tsc_last_used": 4}
    memory.put(CACHE, layouts.pack("bf_cache", slot_count=16, left_early=left, older=older))
    assert Guest.attach(memory).kernel().cache().wrong_eviction.startswith(said)
    assert bool(Guest.attach(memory).kernel().cache().wrong_eviction) == bool(said)


def test_kernel_symbols_are_those_of_nm(firmware: Path) -> None:
    elf = firmware / "kernel.elf"
    told = subprocess.run(["llvm-nm-19", "-n", str(elf)], capture_output=True, text=True, check=True).stdout
    lines = [words for line in told.splitlines() if len(words := line.split()) == 3]
    known = load_elf(elf).symbols
    for address, kind, symbol in lines:
        if kind in "Tt":
            found = known.at(int(address, 16))
            assert found is not None
            same_place = {word[2] for word in lines if word[0] == address}
            assert found.name in same_place
            assert symbol in known.by_name or len(same_place) > 1


def test_an_address_behind_a_symbols_end_is_nobodys() -> None:
    symbols = KernelSymbols([Symbol("f", 0x100, 16), Symbol("label", 0x200, 0)])
    found = [symbols.at(address) for address in (0xFF, 0x100, 0x10F, 0x110, 0x230)]
    assert [symbol.name if symbol else "" for symbol in found] == ["", "f", "f", "", "label"]


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x01", b"\x7fELF\x01" + b"\xff" * 300])
def test_a_damaged_elf_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(data)
    with pytest.raises(BadData, match="is not an i386 ELF file, or damaged"):
        load_elf(path)


def test_equal_lines_of_a_hexdump_are_one_star() -> None:
    lines = hexdump(bytes(64) + b"end", 0x1000).splitlines()
    assert [line.split()[0] for line in lines] == ["00001000", "*", "00001040"]
    assert lines[-1].endswith("|end|")


def test_following_a_serial_log_ends_with_its_machine(tmp_path: Path) -> None:
    path = tmp_path / "serial.log"
    path.write_bytes(b"before\r\n")
    more = iter([b"first\r\n", b"", b"second \x1b[31m\r\n"])

    def alive() -> bool:
        """Each look at the machine finds that it has printed something; then it is gone."""
        data = next(more, None)
        with path.open("ab") as file:
            file.write(data or b"")
        return data is not None

    assert list(follow(path, len("before\r\n"), alive)) == ["first\n", "second \n"]
    more = iter([b"\x1b[3", b"1mred\x1b", b"[0m\r", b"\n\x1b]0;ti", b"tle\x07end\x1b[1"])
    assert "".join(follow(path, path.stat().st_size, alive)) == "red\nend"
