"""Does the C++ runtime of the guest construct, allocate, guard and refuse as compiled C++ code expects?"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from i686_program import I686Program

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
RUNTIME = ROOT / "build/firmware/libs/libcxxrt.a"


@pytest.fixture
def program(tmp_path: Path) -> I686Program:
    assert RUNTIME.exists(), f"{RUNTIME} is missing: run `make firmware` first"
    sources = [HERE / "cxx_kernel.c", HERE / "cxx_cases.cpp"]
    return I686Program(tmp_path, sources, RUNTIME, includes=(ROOT / "firmware/libs/cxx",), keep="cxx_run_tests")


def word(program: I686Program, name: str) -> int:
    value: int = struct.unpack("<I", program.read(program.symbols[name], 4))[0]
    return value


def console(program: I686Program) -> list[str]:
    return program.read(program.symbols["console"], word(program, "console_used")).decode().splitlines()


def halts(program: I686Program, name: str, argument: int) -> bool:
    return program.run("run", program.symbols[name], argument) == 1


def test_the_guests_own_test_passes_when_the_constructors_were_called(program: I686Program) -> None:
    assert program.run("construct") > 0
    assert program.run("cxx_run_tests") == 0
    lines = console(program)
    assert lines[0] == "[C++] Global constructors called  [OK]"
    assert len(lines) == 5
    assert all(line.endswith("  [OK]") for line in lines)


def test_the_guests_own_test_fails_when_the_constructors_were_not_called(program: I686Program) -> None:
    assert program.run("cxx_run_tests") == 2
    assert console(program)[0] == "[C++] Global constructors called  [FAILED]"


def test_new_takes_from_the_heap_and_delete_gives_back(program: I686Program) -> None:
    assert not halts(program, "allocate", 100)
    assert word(program, "heap_used") == 100
    assert word(program, "sink") == program.symbols["heap"]
    assert not halts(program, "release", 0)
    assert word(program, "frees") == 1


def test_new_of_no_bytes_gives_an_address_of_its_own(program: I686Program) -> None:
    assert not halts(program, "allocate", 0)
    assert word(program, "sink") == program.symbols["heap"]
    assert not halts(program, "allocate", 0)
    assert word(program, "sink") != program.symbols["heap"]


def test_new_halts_with_a_message_when_the_heap_is_exhausted(program: I686Program) -> None:
    assert halts(program, "allocate", 4097)
    assert console(program) == ["[C++] fatal: the heap has no room for an operator new"]


def test_a_pure_virtual_call_halts_with_a_message(program: I686Program) -> None:
    assert not halts(program, "call_pure_virtual", 0)
    assert halts(program, "call_pure_virtual", 1)
    assert console(program) == ["[C++] fatal: a pure virtual function was called"]


def test_an_initialiser_that_needs_its_own_object_halts_with_a_message(program: I686Program) -> None:
    assert halts(program, "need_itself", 0)
    assert console(program) == ["[C++] fatal: a static object's initialiser needs that object"]
