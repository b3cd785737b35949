"""Two versions run on the host's own CPU, in a process that may do nothing else."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from machines import SECONDS, wait_for

from bareflow_gdb.recompile.verify import native
from bareflow_gdb.recompile.verify.native import DRIVER, MOST_INPUTS, CannotRun, Native, Ran

SOURCE = Path(native.__file__).with_name("driver.S")
OLD, NEW, DATA = 0x20000, 0x28000, 0x120000
LOW, HIGH = (0, 0xA0000), (0x100000, 0x140000)
INPUTS = [(1, 2), (20, 3), (-5, 0)]


def body(text: str) -> bytes:
    """push ebp; mov ebp, esp; mov eax, a … pop ebp; ret"""
    return bytes.fromhex(f"55 89e5 8b4508 {text} 5d c3")


TWICE = body("01c0")
STORES = f"c705{struct.pack('<I', DATA).hex()}"


def ran(old: bytes, new: bytes, inputs: list[tuple[int, int]] = INPUTS) -> list[Ran]:
    program = Native((OLD, NEW), {LOW: bytes(LOW[1]), HIGH: bytes(HIGH[1] - HIGH[0])}, {OLD: old, NEW: new})
    try:
        program.start(inputs, [(DATA, DATA + 0x10000), (0, 0x10000)])
        wait_for(lambda: program._process is None or program._process.poll() is not None, "the program's end")
        done = program.poll()
        assert done is not None
        return done
    finally:
        program.close()


def test_the_driver_is_its_source_assembled(tmp_path: Path) -> None:
    made, code = tmp_path / "driver.o", tmp_path / "driver.bin"
    subprocess.run(["clang-19", "--target=i686-unknown-none-elf", "-c", SOURCE, "-o", made], check=True)
    subprocess.run(["llvm-objcopy-19", "-O", "binary", "-j", ".text", made, code], check=True)
    assert code.read_bytes() == DRIVER


def test_both_results_are_told_for_each_input() -> None:
    assert ran(TWICE, body("40")) == [Ran(2, 2, ()), Ran(40, 21, ()), Ran(2**32 - 10, 2**32 - 4, ())]
    assert len(ran(TWICE, TWICE, [(n, 0) for n in range(100)])) == MOST_INPUTS


def test_words_that_are_left_different_are_told_and_each_call_finds_memory_as_it_was() -> None:
    counts = f"ff05{struct.pack('<I', DATA + 8).hex()}"
    assert all(did.changed == () for did in ran(body(counts), body(counts)))
    assert ran(body(f"{STORES}07000000"), body(f"{STORES}08000000"))[0].changed == ((DATA, 7, 8),)


def test_x87_code_is_computed_with_all_its_digits() -> None:
    # push 80; fild; fldpi; fsin; fscale; fistp; fstp st(0); pop eax: 2^80 sin(π), π with 64 bits.
    sine = body("6a50 db0424 d9eb d9fe d9fd db1c24 ddd8 58")
    (did,) = ran(sine, sine, [(0, 0)])
    result = did.old - (1 << 32) if did.old >> 31 else did.old
    assert did.old == did.new and 0 < abs(result) < 1_000_000, "π in double precision gives 148,000,000"


def test_nothing_else_is_allowed_there() -> None:
    with pytest.raises(CannotRun, match="ended by signal 9"):
        ran(TWICE, body("b805000000 cd80"))  # open
    with pytest.raises(CannotRun, match="ended by signal 4"):
        ran(TWICE, body("0f0b"))


def test_what_does_not_end_is_ended_by_its_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "WALL_SECONDS", SECONDS)
    with pytest.raises(CannotRun, match=r"ended by signal (9|24) "):
        ran(TWICE, body("ebfe"))


def test_a_host_that_runs_no_such_programs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_elf", lambda _: b"not an executable")
    with pytest.raises(CannotRun, match="this host runs no programs for i386"):
        ran(TWICE, TWICE)
