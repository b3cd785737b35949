"""The answers about the machine and about single things, against sources that know nothing of the suite.

They are symbols of the kernel ELF, the files that were built, memory saved by QEMU, the serial log.
"""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import record_of, text_of
from fake_guest import Bytes
from machines import SECONDS, Boot, pause_at_rest, wait_for_halt

from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.boot.wait import release, wait_for_serial, wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.questions import registry
from bareflow_gdb.render.jsonable import to_json

SAVED = 7 << 20
VERBS = ("header primes", "bitcode primes", "block 0x200010", "cache", "cpu", "irq", "stack", "screen", "serial")


@pytest.fixture(scope="module")
def machine(image: Path, firmware: Path) -> Iterator[Machine]:
    """At the end of its run, with a disk, paused."""
    found = launch(image, settings=RootSettings(thresholds=(10, 20, 30)), disk=firmware / "fat16.img")
    wait_for_stage(found, "idle", SECONDS)
    pause_at_rest(found)
    yield found
    found.stop()


@pytest.fixture
def guest(machine: Machine, firmware: Path) -> Guest:
    return Guest.attach(machine.memory(), elves=lambda: [firmware / "kernel.elf"])


@pytest.fixture(scope="module")
def symbols(firmware: Path) -> dict[str, int]:
    told = subprocess.run(["llvm-nm-19", str(firmware / "kernel.elf")], capture_output=True, text=True, check=True)
    lines = (line.split() for line in told.stdout.splitlines())
    return {words[2]: int(words[0], 16) for words in lines if len(words) == 3}


@pytest.fixture(scope="module")
def core(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("core") / "core"
    machine.dump_core(path)
    return path


def test_the_cpu_is_in_protected_mode_with_the_kernels_idt(guest: Guest, symbols: dict[str, int]) -> None:
    cpu = guest.kernel().cpu()
    assert (cpu.mode, cpu.problems, cpu.notes, cpu.exception) == ("protected", (), (), "")
    assert cpu.registers is not None
    assert (cpu.registers.cr0, cpu.cr0) == (0x33, ("PE", "MP", "ET", "NE"))
    assert {part.name: (part.selector, part.base) for part in cpu.segments if part.name in ("cs", "ss")} == {
        "cs": (8, 0),
        "ss": (0x10, 0),
    }
    assert [d.kind for d in cpu.gdt] == ["null", "32-bit code", "32-bit data, writable"]
    assert all(0x7E00 <= address < 0x9000 for address in (cpu.gdt_base,)), "stage 2 holds the GDT"
    assert (cpu.idt_base, cpu.idt_found_by) == (symbols["idt"], "register")
    assert [(gate.vector, gate.name, gate.handler) for gate in cpu.gates] == [
        (vector, f"stub_{vector}", symbols[f"stub_{vector}"]) for vector in range(48)
    ]


def test_the_interrupt_lines_are_as_the_kernel_set_them(guest: Guest, symbols: dict[str, int]) -> None:
    irq = guest.kernel().irq()
    assert (irq.problems, irq.notes, irq.pics_known) == ((), (), True)
    assert irq.ticks == read_counters(guest.memory, guest.root()).irq_count > 0
    assert [line.vector for line in irq.lines] == list(range(0x20, 0x30))
    assert next(line.line for line in irq.lines if not line.masked) == 0
    assert irq.lines[4].masked, "the serial port is polled"
    assert irq.lines[0].handler == symbols["stub_32"]


def test_the_stack_leads_from_idle_to_the_first_instruction(guest: Guest, machine: Machine) -> None:
    stack = guest.kernel().stack()
    names = [frame.place.text.split(" + ")[0] for frame in stack.frames]
    assert names[-3:-1] == ["bareflow_run", "kernel_main"]
    assert names[-1].startswith("_start")
    assert (stack.problems, stack.source) == ((), "registers")
    assert stack.end == "the first frame: its caller's EBP is 0"
    saved = machine.read_physical(0x80000, 0x10000)
    used = saved.lstrip(b"\0")
    assert (stack.deepest_used, stack.deepest_sure) == (len(used), True)
    assert stack.used == 0x90000 - stack.esp


def test_what_is_no_return_address_ends_the_chain() -> None:
    memory = Bytes(SAVED)
    memory.put(0x8FF00, struct.pack("<IIII", 0x8FF08, 0x10100, 0x8FF00, 0x10200))
    memory.put(0x8F000, struct.pack("<II", 0x8F100, 0xB8000))
    other = Guest(memory)
    assert "no call stands before it" in other.kernel().stack(ebp=0x8FF00).end
    assert "0x000b8000 at 0x0008f004 is no return address" in other.kernel().stack(ebp=0x8F000).end
    assert any("outside the stack" in problem for problem in other.kernel().stack(ebp=0x12345).problems)


def test_the_header_is_that_of_the_file_that_was_built(guest: Guest, firmware: Path) -> None:
    for name in ("primes", "sum", "sha256"):
        file = (firmware / "modules" / f"{name}.O0.mod").read_bytes()
        report = guest.kernel().header(name)
        assert (report.problems, report.digest, report.name) == ((), "right", name)
        assert (report.image_size, report.raw) == (len(file), file[:48].hex())
        assert report.code_size == struct.unpack_from("<I", file, 40)[0]
        bss, relocations = struct.unpack_from("<II", file, 48 + report.code_size)
        assert (report.bss_size, report.relocations) == (bss, relocations)
        for address in (report.address, report.address + 60, guest.kernel().modules().modules[0].code):
            assert guest.kernel().header(address).magic_text == "BDOM"


def test_one_wrong_byte_in_an_image_is_found(guest: Guest, machine: Machine) -> None:
    report = guest.kernel().header("primes")
    for at, words in (
        (0, "its header has magic"),
        (40, "bytes of code"),
        (60, "SHA-256 is wrong"),
        (36, "its header's entry"),
    ):
        memory = Bytes(SAVED)
        memory.put(0, machine.read_physical(0, SAVED))
        where = report.address + at
        memory.put(where, bytes([memory.ram[where] ^ 0x80] * 4))
        problems = Guest.attach(memory).kernel().header("primes").problems
        assert any(words in problem for problem in problems), (at, problems)


def test_bitcode_is_decoded_with_its_producer(guest: Guest, firmware: Path) -> None:
    report = guest.kernel().bitcode_of("primes")
    assert report.problems == ()
    assert report.generation == "128 bytes, as documented"
    assert report.bitcode.size == (firmware / "modules" / "primes.bc.wrapped").stat().st_size
    assert report.producer is not None
    assert report.producer.producer.startswith("LLVM19.")
    assert report.producer.triple == "i686-unknown-none-elf"
    assert report.producer.source == "modules/primes.c"


def test_a_block_is_what_memory_holds_and_an_overrun_is_found(guest: Guest, machine: Machine) -> None:
    version = guest.kernel().versions()[-1]
    report = guest.kernel().block(version.code + 5)
    assert report.offset == version.code + 5 - report.block.address
    assert report.block.owner_name == version.title
    magic, size, _, free = struct.unpack("<4I", machine.read_physical(report.block.start, 16))
    assert (report.header.magic, report.header.size, report.header.free) == (magic, size, bool(free))
    assert bytes.fromhex(report.data) == machine.read_physical(report.block.address, 128)[: report.block.size]
    assert report.problems == ()
    assert report.before is not None and report.before.end == report.block.start
    assert report.after is not None and report.after.start == report.block.end
    memory = Bytes(SAVED)
    memory.put(0, machine.read_physical(0, SAVED))
    memory.put(report.block.end, b"overrun!")
    problems = Guest.attach(memory).kernel().block(version.code).problems
    assert any("the block after it: its header has magic 0x7265766f" in problem for problem in problems)


def test_the_disk_is_the_one_that_the_guest_mounted(guest: Guest, firmware: Path) -> None:
    disk = guest.kernel().disk()
    assert disk.problems == disk.notes == ()
    assert disk.volume is not None and disk.mounted is not None
    assert disk.volume.image == str(firmware / "fat16.img")
    assert (disk.mounted.label, disk.mounted.drive) == (disk.volume.label, 1)
    assert disk.mounted.data_start == disk.volume.data_start
    told = subprocess.run(
        ["mdir", "-b", "-i", str(firmware / "fat16.img"), "::"], capture_output=True, text=True, check=True
    )
    assert [file.name for file in disk.volume.files] == [line.removeprefix("::/") for line in told.stdout.split()]


def test_a_file_of_the_machines_disk_is_shown(
    machine: Machine, firmware: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert cli.main(["fat", "cat", "PRIMES.O2", machine.name]) == 0
    assert capfdbinary.readouterr().out == (firmware / "modules" / "primes.O2.mod").read_bytes()


def test_the_cache_is_what_memory_holds(guest: Guest, machine: Machine) -> None:
    cache = guest.kernel().cache()
    raw = machine.read_physical(guest.root().cache, 16 + 16 * 56)
    assert (cache.capacity, cache.hits, cache.misses, cache.evictions) == struct.unpack_from("<4I", raw)
    states = [struct.unpack_from("<I", raw, 16 + 56 * index + 44)[0] for index in range(16)]
    assert sorted(slot.index for slot in cache.slots) == [i for i, state in enumerate(states) if state]
    assert cache.problems == ()


def test_the_screen_shows_the_end_of_the_serial_log_and_every_source_agrees(
    guest: Guest, machine: Machine, core: Path
) -> None:
    screen = record_of(guest, "screen")
    shown = [row.text.rstrip() for row in screen.rows]
    printed = [line.rstrip() for line in machine.serial().replace("\r", "").splitlines()]
    assert [line for line in shown if line] == [line for line in printed if line][-len([x for x in shown if x]) :]
    assert {row.attributes[:2] for row in screen.rows} == {"07"}
    assert record_of(Guest.attach(ElfCore(core)), "screen") == screen
    machine.resume()
    assert record_of(guest, "screen") == screen
    pause_at_rest(machine)


def test_serial_is_the_file_and_its_end_is_in_the_log_buffer(
    machine: Machine, core: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serial", machine.name]) == 0
    whole = capsys.readouterr().out
    assert whole.strip() == machine.serial().replace("\r", "").strip()
    assert cli.main(["serial", "--json", str(core)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["source"] == "log buffer"
    assert len(told["text"]) > 8000
    assert whole.rstrip().endswith(told["text"].rstrip())
    assert cli.main(["serial", "--last", "60", "--json", str(machine.serial_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert whole.endswith(told["text"])
    assert told["lost"] == told["written"] - 60 > 0


@pytest.mark.parametrize("question", ["cpu", "stack", "cache", "irq"])
def test_a_core_and_the_gdbstub_answer_like_the_guest(
    machine: Machine, core: Path, firmware: Path, question: str
) -> None:
    def answer(memory: Any) -> Any:
        return to_json(record_of(Guest.attach(memory, elves=lambda: [firmware / "kernel.elf"]), question))

    told = answer(machine.memory())
    with GdbStub.connect(f"unix:{machine.gdb_socket}") as stub:
        assert answer(stub) == told
    pause_at_rest(machine)
    # Detaching let the guest run: where it stands has moved, the core is of before.
    in_core = answer(ElfCore(core))
    if question == "irq":
        assert in_core["notes"][0].startswith("masks are not known: this ELF core cannot answer")
        assert [line["handler"] for line in in_core["lines"]] == [line["handler"] for line in told["lines"]]
        assert {line["masked"] for line in in_core["lines"]} == {None}
    if question == "cpu":
        assert in_core["gates"] == told["gates"]
        assert (in_core["gdt"], in_core["segments"]) == (told["gdt"], told["segments"])
    if question == "stack":
        assert in_core["frames"][-3:] == told["frames"][-3:]
    if question == "cache":
        assert in_core == told


def test_each_answer_over_the_gdbstub_takes_ten_packets_at_most(machine: Machine) -> None:
    questions: list[tuple[str, dict[str, object]]] = [
        ("header", {"module": "sha256"}),
        ("bitcode", {"function": "sha256"}),
        ("block", {"address": 0x200010}),
        ("block", {"address": 0x240010}),
        # `diagnose` is asked for everything, whatever that costs.
        *((name, {}) for name in registry.plain() if name != "diagnose"),
    ]
    with GdbStub.connect(f"unix:{machine.gdb_socket}") as stub:
        guest = Guest.attach(stub)
        for name, arguments in questions:
            stub.invalidate()
            before = stub.packets
            record_of(guest, name, **arguments)
            assert stub.packets - before <= 10, name
    pause_at_rest(machine)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_prints_text_and_json(machine: Machine, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert cli.main([*verb.split(), machine.name]) == 0
    text = capsys.readouterr().out
    assert text.strip()
    assert "\x1b" not in text
    assert cli.main([*verb.split(), "--json", machine.name]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("verb", VERBS)
def test_no_guest_is_one_sentence(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    assert cli.main([*verb.split(), "no-such-machine"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)


def test_in_real_mode_what_can_be_told_is_told(image: Path, launched: Boot, capsys: pytest.CaptureFixture[str]) -> None:
    machine = launched(image, paused=True)
    guest = Guest.attach(machine.memory())
    cpu = guest.kernel().cpu()
    assert (cpu.mode, cpu.gates, cpu.gdt) == ("real", (), ())
    assert cpu.place is not None
    assert cpu.place.address == 0xFFFFFFF0, "the reset vector"
    assert any("real mode: no IDT, but 256 vectors" in note for note in cpu.notes)
    assert any("real mode" in note for note in guest.kernel().irq().notes)
    assert text_of("screen", record_of(guest, "screen")) == ""
    for verb in ("stack", "header primes", "bitcode primes", "block 0x200010", "cache"):
        capsys.readouterr()
        assert cli.main([*verb.split(), machine.name]) == 2, verb
        assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["stack", machine.name]) == 2
    assert "the CPU is in real mode" in capsys.readouterr().err


def test_while_the_guest_runs_every_question_is_answered(booted: Boot) -> None:
    machine = booted("registered", hold=1, thresholds=(10, 100, 300))
    guest = Guest.attach(machine.memory())
    release(machine)
    ticks = 0
    while "idle" not in guest.kernel().status().stage:
        for question in (
            guest.kernel().cpu,
            guest.kernel().irq,
            lambda: record_of(guest, "screen"),
            guest.kernel().cache,
            guest.kernel().serial,
        ):
            question()
        guest.kernel().block(0x200010)
        guest.kernel().header("primes")
        try:
            assert guest.kernel().stack().frames
        except BareflowError as error:
            # Registers and memory are of two moments; what comes of it must be a sentence.
            assert "\n" not in str(error)
        now = guest.kernel().irq().ticks
        assert now is not None and now >= ticks
        ticks = now


def test_jit_code_on_the_stack_is_named_by_function_and_tier(booted: Boot, firmware: Path) -> None:
    """UD2 behind the prologue of a version: the exception's handler has that version among its callers."""
    machine = booted("registered", hold=1)
    code = Guest.attach(machine.memory()).kernel().versions()[0]
    with GdbStub.connect(f"unix:{machine.gdb_socket}") as stub:
        assert stub.read(code.entry, 3, "prologue") == b"\x55\x89\xe5"
        stub.write(code.entry + 3, b"\x0f\x0b", "UD2")
    release(machine)
    wait_for_stage(machine, "halted", SECONDS)
    guest = Guest.attach(machine.memory(), elves=lambda: [firmware / "kernel.elf"])
    places = [frame.place for frame in guest.kernel().stack().frames]
    jit = next(place for place in places if place.function)
    assert (jit.function, jit.level, jit.version) == (code.function_name, code.level, code.number)
    assert jit.text == f"{code.function_name}@O{code.level} #{code.number} + 0x{jit.address - code.code:x}"
    assert any(place.text.startswith("exception_") for place in places)
    assert guest.kernel().cpu().exception == f"#UD invalid opcode at 0x{code.entry + 3:08x}"
    dump = Bytes(SAVED)
    dump.put(0, machine.read_physical(0, SAVED))
    without = Guest.attach(dump).kernel().stack()
    assert (without.source, without.frames[0].place.function) == ("exception record", code.function_name)


def test_header_digests_are_computed_here_too(guest: Guest, machine: Machine) -> None:
    report = guest.kernel().header("sum")
    saved = machine.read_physical(report.address, report.image_size)
    assert hashlib.sha256(saved[:-32]).digest() == saved[-32:]


def test_a_stock_kernel_without_a_debug_interface_answers_too(
    launched: Boot, firmware: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = launched(firmware / "stock" / "stock.img", disk=firmware / "fat16.img")
    wait_for_serial(machine, "--- END JSON ---", SECONDS)
    wait_for_halt(machine)
    for words in ("cpu", "irq", "stack", "screen", "serial", "fat list", "header primes", "bitcode primes"):
        assert cli.main([*words.split(), machine.name]) == 0, words
    guest = Guest.attach(machine.memory(), elves=lambda: [firmware / "stock" / "stock.elf"])
    report = guest.kernel().header("primes")
    assert (report.version, report.digest, report.problems) == (1, "none", ())
    pool = guest.kernel().pools().pools[0]
    block = guest.kernel().block(pool.blocks[0].address + 20)
    assert (block.problems, block.block) == ((), pool.blocks[0])
    assert "kernel_main" in [frame.place.text.split(" + ")[0] for frame in guest.kernel().stack().frames]
    code = guest.kernel().jit_code()[0]
    memory = Bytes(SAVED)
    memory.put(0, machine.read_physical(0, SAVED))
    memory.put(0x8FF00, struct.pack("<II", 0, 0))
    place = Guest.attach(memory).kernel().stack(ebp=0x8FF00, eip=code.code + 7).frames[0].place
    assert (place.text, place.function) == (f"{code.title} + 0x7", code.function)
    capsys.readouterr()
    assert cli.main(["cache", machine.name]) == 2
    assert capsys.readouterr().err.count("\n") == 1
