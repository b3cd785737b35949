"""With paging on, records are at physical addresses and code is at linear ones; 64-bit mode is refused by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking import record_of
from foreign_kernels import HIGH, HIGHER_HALF, LONG_MODE
from machines import SECONDS, Assemble, wait_for
from program import bareflow

from bareflow_gdb.cli import ask
from bareflow_gdb.cli.main import main
from bareflow_gdb.cli.targets import open_target
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.memory.listeners import behind
from bareflow_gdb.questions import registry

Run = Callable[[str, str], str]


@pytest.fixture
def foreign(boot_sector: Assemble, tmp_path: Path) -> Iterator[Run]:
    """Starts a QEMU as anyone starts it, on a boot sector; gives the address of its gdbstub."""
    started: list[subprocess.Popen[bytes]] = []

    def run(code: str, program: str) -> str:
        stub = tmp_path / "stub"
        words = ["-display", "none", "-drive", f"file={boot_sector(code)},format=raw,snapshot=on"]
        process = subprocess.Popen([program, *words, "-gdb", f"unix:{stub},server=on,wait=off"])
        started.append(process)
        wait_for(lambda: behind(f"unix:{stub}") == process.pid, "QEMU to listen")
        return f"unix:{stub}"

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def paged(foreign: Run) -> str:
    """A kernel in the higher half, once it has removed the identity mapping."""
    address = foreign(HIGHER_HALF, "qemu-system-i386")

    def up() -> bool:
        with GdbStub.connect(address) as stub:
            registers = stub.monitor("info registers")
        return "EIP=c0007c" in registers and "ESP=c000" in registers

    wait_for(up, "the kernel to be in the higher half")
    return address


def test_records_are_read_physically_and_code_linearly(paged: str) -> None:
    with GdbStub.connect(paged) as stub:
        guest = Guest.attach(stub)
        status = record_of(guest, "status")
        assert any("no boot record at 0x00000600" in problem for problem in status.problems)
        assert any("paging is on" in problem for problem in status.problems)
        # The boot sector's mark: physically there, and nothing is mapped at that linear address.
        assert stub.read(0x7DFE, 2, "boot sector's mark") == b"\x55\xaa"
        cpu = record_of(guest, "cpu")
        assert cpu.mode == "protected with paging"
        assert "physical 0x00007c" in cpu.place.text
        assert any("linear" in note for note in cpu.notes)
        eip = cpu.registers.eip
        assert eip > HIGH
        listing = record_of(guest, "disas", place=eip)
        code = stub.read(eip - HIGH, 15, "code")
        assert listing.lines[0].code == code[: len(listing.lines[0].code) // 2].hex()
        assert any(f"0x{eip:08x} is linear" in problem for problem in listing.problems)
        found = record_of(guest, "identify", address=eip)
        assert (found.address, found.region != "outside RAM") == (eip, True)
        assert f"0x{eip - HIGH:08x} physical" in found.detail


def test_an_address_that_is_neither_mapped_nor_physical_is_refused_for_that(paged: str) -> None:
    with GdbStub.connect(paged) as stub, pytest.raises(BareflowError, match="no page is at 0xd0000000; `cpu` shows"):
        record_of(Guest.attach(stub), "disas", place=0xD0000000)


def test_the_stack_is_followed_through_the_page_tables(paged: str) -> None:
    with GdbStub.connect(paged) as stub:
        stack = record_of(Guest.attach(stub), "stack")
    assert stack.esp > HIGH
    assert len(stack.frames) >= 1
    assert all(frame.code > HIGH for frame in stack.frames)
    assert stack.problems == ()
    assert any("bounds are not known" in note for note in stack.notes)


def test_a_stub_is_left_reading_linear_addresses(paged: str) -> None:
    with GdbStub.connect(paged) as stub:
        stub.read(0x7DFE, 2, "boot sector's mark")
        stub.write(0x600, b"1234", "test bytes")
        assert stub.read(0x600, 4, "test bytes") == b"1234"
        assert stub._command("m7dfe,2").startswith("E")
    with GdbStub.connect(paged) as stub:
        assert stub._command(f"m{HIGH + 0x7DFE:x},2") == "55aa"


@pytest.mark.parametrize("words", ("status", "cpu", "stack", f"disas {HIGH + 0x7C00}", "irq", "screen", "doctor"))
def test_a_program_asks_it_by_its_address(paged: str, words: str) -> None:
    command = [sys.executable, "-m", "bareflow_gdb.cli.main", *words.split(), paged]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode in (0, 1), done.stderr
    assert "a defect" not in done.stderr


def test_no_verb_asks_a_stub_that_it_has_connected_to_already(paged: str) -> None:
    # Here nobody but the stub tells what is in memory, and it has one connection.
    verbs = {file.stem for file in Path(ask.__file__).with_name("verbs").glob("*.py")}
    for question in (one for one in registry.every() if one.name in verbs):
        said = bareflow(*question.example.split(), paged)
        assert "does not answer" not in said.stderr, question.name


def test_64_bit_mode_is_named_and_no_address_is_cut(foreign: Run, capsys: pytest.CaptureFixture[str]) -> None:
    address = foreign(LONG_MODE, "qemu-system-x86_64")

    def up() -> bool:
        with GdbStub.connect(address) as stub:
            return "RIP=ffffffff80007c" in stub.monitor("info registers")

    wait_for(up, "64-bit mode")
    guest = Guest.attach(open_target(address).memory)
    assert any("the CPU is in 64-bit mode" in problem for problem in record_of(guest, "status").problems)
    assert any("the CPU is in 64-bit mode" in note for note in record_of(guest, "cpu").notes)
    with pytest.raises(BareflowError, match="the CPU is in 64-bit mode"):
        record_of(guest, "stack")
    # 64-bit code at an address that 32 bits can write: `disas $pc` of a kernel that is not in the higher half.
    assert any("the CPU is in 64-bit mode" in note for note in record_of(guest, "disas", place=0x7C00).problems)
    assert "the CPU is in 64-bit mode" in record_of(guest, "identify", address=0x7C00).detail
    for verb in ("identify", "disas"):
        assert main([verb, "0xffffffff80007ccf", address]) == 2
        assert "0xffffffff80007ccf has more than 32 bits" in capsys.readouterr().err
