"""What the checks of stock kernels read off bytes: entry code, strings, straight code, the log, a command line."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from stock_guest import StockGuest

from bareflow_gdb.checks import registry as checks
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.cli.recognise import open_path
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.code.log_lines import calls_told
from bareflow_gdb.guest.code.straight import returns_after
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.stock.entry import Entry, entry_of
from bareflow_gdb.guest.stock.slide import slide_of
from bareflow_gdb.guest.stock.window import Window
from bareflow_gdb.memory import process_ram
from bareflow_gdb.memory.process_ram import ProcessRam
from bareflow_gdb.memory.protocol import CheckedMemory

SIGNATURE = b"DULF"
BASE = 0x10000


class Bytes(CheckedMemory):
    """Memory with an image at BASE."""

    def __init__(self, image: bytes) -> None:
        super().__init__()
        self.image = image

    def _fetch(self, address: int, size: int) -> bytes:
        start = address - BASE
        if start < 0:
            return bytes(size)
        return self.image[start : start + size].ljust(size, b"\0")


def mov(register: int, value: int) -> bytes:
    return bytes([0xB8 + register]) + struct.pack("<I", value)


CLEAR = (
    mov(4, 0x90000)  # esp
    + b"\x31\xed\xfc"
    + mov(7, 0x1B000)  # edi
    + mov(1, 0x5F000)  # ecx
    + b"\x29\xf9\xc1\xe9\x02\x31\xc0\xf3\xab"
)
CALL = b"\xe8\0\0\0\0"


@pytest.mark.parametrize(
    ("code", "entry"),
    [
        (b"\xfa" + CLEAR + CALL, Entry(0x90000, (0x1B000, 0x5F000))),
        (b"\xeb\x04\xff\xff\xff\xff" + CLEAR + CALL, Entry(0x90000, (0x1B000, 0x5F000))),
        (mov(4, 0x90000) + CALL + CLEAR, Entry(0x90000)),
        (mov(4, 0x90000) + b"\x89\xc7" + mov(1, 8) + b"\xf3\xab" + CALL, Entry(0x90000)),
        (b"\xeb\xfe", Entry()),
        (b"\xff" * 64, Entry()),
    ],
    ids=["cleared", "over a header", "after the first call", "where EDI is not known", "a jump to itself", "no code"],
)
def test_what_the_entry_sets_up_is_read_off_its_code(code: bytes, entry: Entry) -> None:
    assert entry_of(Bytes(SIGNATURE + code)) == entry


@pytest.mark.parametrize(("linked", "shift"), [(BASE, 0), (0x1000, 0xF000), (0x100000, -0xF0000)])
def test_a_slide_is_told_by_the_strings_that_the_code_names(linked: int, shift: int) -> None:
    strings = [f"string number {index}".encode() + b"\0" for index in range(9)]
    at, code = 0x200, b""
    for text in strings:
        code += b"\x68" + struct.pack("<I", linked + at)
        at += len(text)
    image = (SIGNATURE + code).ljust(0x200, b"\0") + b"".join(strings)
    slide = slide_of(Window(Bytes(image)))
    assert slide.bytes == shift and (slide.named == 9) == (shift != 0)


def test_code_that_names_no_string_is_not_said_to_have_slid() -> None:
    assert slide_of(Window(Bytes(SIGNATURE + bytes(range(256)) * 64))).bytes == 0


@pytest.mark.parametrize(
    ("code", "size"),
    [
        (b"\xb8\x01\0\0\0\xc3", 6),
        (b"\x31\xc0\xc2\x04\0", 5),
        (b"\x85\xc0\x74\x01\xc3", 0),
        (b"\xe8\0\0\0\0\xc3", 0),
        (b"\xcc\xc3", 0),
        (b"\x90" * 32, 0),
    ],
)
def test_a_straight_line_to_the_return_is_measured(code: bytes, size: int) -> None:
    assert returns_after(code, 0x1000) == size


def test_the_highest_call_that_was_printed_is_that_of_the_function_named_last() -> None:
    log = (
        "[Call 7] of nobody\n[ADAPTIVE-JIT] Registered: fib\n[Call 1] Initial execution at O0\n"
        "[RECOMPILE] fib: O0 -> O1\n[Call 101] Now running at O1\n[RECOMPILE] sum: O0 -> O1\n[Call 3] x\n"
    )
    assert calls_told(log) == {"fib": 101, "sum": 3}
    assert calls_told("[Call " + "9" * 5000 + "]") == {}


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("-serial", "file:/tmp/com1"), Path("/tmp/com1")),
        (("-serial", "file:com1"), Path("/proc/7/cwd/com1")),
        (("-chardev", "file,id=a,path=/x/y", "--serial", "chardev:a"), Path("/x/y")),
        (("-serial", "stdio", "-serial", "file:/tmp/com2"), None),
        (("-serial", "chardev:b"), None),
        ((), None),
    ],
)
def test_the_serial_file_is_that_of_com1(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], path: Path | None
) -> None:
    monkeypatch.setattr(process_ram, "_command_line", lambda _: ["qemu-system-i386", *words, ""])
    memory = object.__new__(ProcessRam)
    memory.pid = 7
    assert memory.serial_path == path


def test_a_dump_of_a_kernel_below_the_usual_place_is_recognised(tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    for base in (0x1000, 0x8000):
        dump.write_bytes((bytes(base) + SIGNATURE).ljust(0x20000, b"\0"))
        assert open_path(dump).kind == "dump"
    dump.write_bytes((bytes(0x2000) + SIGNATURE).ljust(0x20000, b"\0"))
    with pytest.raises(UsageError, match="--base"):
        open_path(dump)


@pytest.mark.parametrize("source", ["screen", "COM1"])
def test_an_exception_that_was_printed_is_a_finding(source: str) -> None:
    lines = ("[EXCEPTION] CPU Exception caught!", "[EXCEPTION] vector 6, error code 0x00000000, EIP 0x0001f061")
    memory = StockGuest().build()
    subject = Subject(Guest.attach(memory).kernel, serial=(lambda: "\n".join(lines)) if source == "COM1" else None)
    if source == "screen":
        cells = "".join(line.ljust(80) for line in lines).ljust(2000)
        memory.screen = lambda: b"".join(bytes((ord(char), 7)) for char in cells)  # type: ignore[method-assign]
    (finding,) = checks.run(subject, ("printed_exception",)).findings
    assert (finding.what, finding.where) == ("the kernel printed an exception, vector 6", "EIP 0x0001f061")
    assert "CPU Exception caught" in finding.evidence and finding.bad


def test_without_screen_and_log_no_exception_is_denied() -> None:
    (one,) = checks.run(Subject(Guest.attach(StockGuest().build()).kernel), ("printed_exception",)).checks
    assert one.state == "not asked" and "neither the screen nor what it printed" in one.why
