"""LLVM runs in a process of its own: it is warm, it refuses in one sentence, and its death harms nobody."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_code import MIXED, MODULES, bitcode
from machines import unread, wait_for

from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.objects import read_object
from bareflow_gdb.recompile.refusal import BadBitcode, CompilerDied


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler() as compiler:
        yield compiler


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bitcode(tmp_path_factory.mktemp("worker"), MIXED)


def test_each_level_is_a_compilation_of_its_own(compiler: Compiler, tmp_path: Path) -> None:
    payload = bitcode(tmp_path, (MODULES / "fibonacci.c").read_text())
    code = []
    for level in range(4):
        compiled = read_object(compiler.compile(payload, "fibonacci_main", level).data)
        code.append(next(piece.data for piece in compiled.pieces if piece.name == ".text"))
    assert len(code[0]) > len(code[1]), "O0 keeps every variable in memory"
    assert code[1] != code[2], "loops are unrolled from O2 on"


def test_code_for_i686_keeps_its_frame_and_uses_no_sse(compiler: Compiler, payload: bytes) -> None:
    from capstone import CS_ARCH_X86, CS_MODE_32, Cs

    disassembler = Cs(CS_ARCH_X86, CS_MODE_32)
    for level in range(4):
        compiled = read_object(compiler.compile(payload, "mixed_main", level).data)
        start = compiled.function("mixed_main").value
        text = next(piece.data for piece in compiled.pieces if piece.name == ".text")
        lines = [(i.mnemonic, i.op_str) for i in disassembler.disasm(text[start:], 0)]
        assert lines[:2] == [("push", "ebp"), ("mov", "ebp, esp")]
        assert not [line for line in lines if "xmm" in line[1] or "mm0" in line[1]]


def test_remarks_tell_what_was_inlined(compiler: Compiler, payload: bytes) -> None:
    assert any("'count' inlined into 'mixed_main'" in r for r in compiler.compile(payload, "mixed_main", 3).remarks)
    assert compiler.compile(payload, "mixed_main", 0).remarks == ()


def test_debug_information_goes_through(compiler: Compiler, payload: bytes) -> None:
    assert b".debug_line" in compiler.compile(payload, "mixed_main", 3).data


@pytest.mark.parametrize("size", [0, 3, 4, 100, 2000, -4])
def test_truncated_bitcode_is_refused_and_the_worker_lives(compiler: Compiler, payload: bytes, size: int) -> None:
    pid = compiler.pid
    with pytest.raises(BadBitcode) as caught:
        compiler.compile(payload[:size], "mixed_main", 3)
    assert "\n" not in str(caught.value)
    assert compiler.compile(payload, "mixed_main", 3).data
    assert compiler.pid == pid


def test_damaged_bitcode_never_harms_this_process(compiler: Compiler, payload: bytes) -> None:
    chance = random.Random(4)
    survived = 0
    for _ in range(40):
        damaged = bytearray(payload)
        for _ in range(chance.randrange(1, 8)):
            damaged[chance.randrange(8, len(damaged))] ^= 1 << chance.randrange(8)
        try:
            compiler.compile(bytes(damaged), "mixed_main", 3)
        except (BadBitcode, CompilerDied) as error:
            assert "\n" not in str(error)
        else:
            survived += 1
    assert survived < 40
    assert compiler.compile(payload, "mixed_main", 3).data


def test_a_worker_that_dies_is_reported_and_replaced(payload: bytes) -> None:
    with Compiler() as compiler:
        compiler.compile(payload, "mixed_main", 3)
        pid = compiler.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)  # so that it answers nothing before it dies

        def kill_once_it_is_asked() -> None:
            wait_for(lambda: unread(pid), "the question to the worker")
            os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_once_it_is_asked)
        killer.start()
        with pytest.raises(CompilerDied, match="LLVM died by signal 9"):
            compiler.compile(payload, "mixed_main", 3)
        killer.join()
        assert compiler.compile(payload, "mixed_main", 3).data
        assert compiler.pid != pid


def test_a_worker_that_died_while_idle_is_replaced_silently(payload: bytes) -> None:
    with Compiler() as compiler:
        compiler.compile(payload, "mixed_main", 3)
        assert compiler.pid is not None
        os.kill(compiler.pid, signal.SIGKILL)
        os.waitid(os.P_PID, compiler.pid, os.WEXITED | os.WNOWAIT)
        assert compiler.compile(payload, "mixed_main", 3).data


def test_a_worker_that_hangs_is_ended(payload: bytes) -> None:
    with Compiler() as compiler:
        compiler.wait_ready()
        compiler.timeout = 0.5
        assert compiler.pid is not None
        pid = compiler.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(CompilerDied, match=r"within 0\.5 s"):
            compiler.compile(payload, "mixed_main", 3)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_abort_inside_llvm_is_the_compilers_death(tmp_path: Path) -> None:
    # Inline assembly that no i686 assembler knows makes LLVM end the process.
    source = 'int f(int a, int b) { __asm__("no_such_instruction"); return a + b; }'
    with Compiler() as compiler, pytest.raises((CompilerDied, BadBitcode)) as caught:
        compiler.compile(bitcode(tmp_path, source), "f", 3)
    assert "\n" not in str(caught.value)
