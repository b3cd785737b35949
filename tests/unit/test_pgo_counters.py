"""Counters without a run-time library: what clang adds is taken out, what the guest counts goes to clang again."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from fake_guest import Bytes
from guest_code import bitcode

from bareflow_gdb.build.module import read_module
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.pgo import counts, cpu
from bareflow_gdb.pgo.arguments import PAIRS
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.instrumented import instrument, keep_counters, read_counts

# Two static functions that are not inlined, one of which never runs its loop.
SOURCE = """
__attribute__((noinline)) static int twice(int n) { int s = 0; for (int i = 0; i < n; i++) s += i ^ n; return s; }
__attribute__((noinline)) static int never(int n) { int s = n; while (s > 1000000) s /= 3; return s; }
int count_calls;
int count_main(int a, int b) { count_calls++; return twice(a) + (b > 7 ? never(b) : b); }
"""


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    folder = tmp_path_factory.mktemp("firmware")
    (folder / "modules").mkdir()
    bitcode(folder / "modules", SOURCE, name="count")
    return Firmware(folder)


def test_the_image_that_counts_has_the_counters_as_data_and_no_library(firmware: Firmware) -> None:
    made = instrument(firmware, "count")
    data = read_module(made.image).data
    sizes = {symbol.name: symbol.size for symbol in data.symbols}
    assert sizes == {"count_calls": 4, **{one.symbol: 8 * one.count for one in made.counters}}
    assert {one.function.rpartition(";")[2] for one in made.counters} == {"count_main", "twice", "never"}
    assert all(one.hash for one in made.counters)


def test_arguments_are_counted_beside_the_blocks(firmware: Firmware) -> None:
    plain, made = (instrument(firmware, "count", arguments=asked) for asked in (False, True))
    assert made.counters == plain.counters
    sizes = [{symbol.name: symbol.size for symbol in read_module(one.image).data.symbols} for one in (plain, made)]
    assert sizes[1] == {**sizes[0], "bf_counters_arguments": 16 * (PAIRS + 1)}


def test_what_was_counted_is_taken_by_llvm_for_the_same_functions(firmware: Firmware, tmp_path: Path) -> None:
    made = instrument(firmware, "count")
    symbols, segment, at = {}, bytearray(), 0x200000
    for number, one in enumerate(made.counters):
        symbols[one.symbol] = GuestSymbol(one.symbol, Address(at + len(segment)), 8 * one.count)
        segment += struct.pack(f"<{one.count}Q", *(number * 100 + k for k in range(one.count)))
    memory = Bytes()
    memory.put(at, bytes(segment))
    found = read_counts(memory, symbols, made.counters, "count")
    (tmp_path / "x.profdata").write_bytes(counts.profdata(found))
    words = ["llvm-profdata-19", "show", "--all-functions", "--counts", str(tmp_path / "x.profdata")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for one, counted in zip(made.counters, found, strict=True):
        assert f"  {one.function}:\n    Hash: 0x{one.hash:016x}\n    Counters: {one.count}\n" in shown
        assert f"Block counts: [{', '.join(map(str, counted.counts))}]" in shown


def test_a_guest_without_these_counters_is_told(firmware: Firmware) -> None:
    made = instrument(firmware, "count")
    with pytest.raises(BadData, match="has no counters of"):
        read_counts(Bytes(), {}, made.counters, "count")


def test_ir_that_is_instrumented_otherwise_is_refused() -> None:
    with pytest.raises(BadData, match="not known here"):
        keep_counters("define i32 @f() {\n  ret i32 0\n}\n", "f")


def test_a_cpu_that_the_guest_lacks_features_of_is_refused_by_their_names() -> None:
    words = [
        {"cpuid-input-eax": 1, "cpuid-register": "EDX", "features": 1 | 1 << 8 | 1 << 15 | 1 << 23},
        {"cpuid-input-eax": 0x80000001, "cpuid-register": "ECX", "features": 0},
    ]
    has = cpu.features_of(words)
    assert has == {"x87", "cx8", "cmov", "mmx"}
    cpu.check("i686", has)
    with pytest.raises(UsageError, match="code for pentium3 needs fxsr, sse, which the guest's CPU lacks"):
        cpu.check("pentium3", has)
    with pytest.raises(UsageError, match="z80 is not a CPU"):
        cpu.flags_for("z80")
    assert cpu.flags_for("i686").flags == ("-march=i686", "-mno-sse", "-mno-mmx")
