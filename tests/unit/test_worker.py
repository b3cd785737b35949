"""LLVM runs in a process of its own: it is warm, it refuses in one sentence, and its death harms nobody."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_code import MIXED, MODULES, bitcode
from machines import unread, wait_for

from bareflow_gdb.qemu.process import started_at
from bareflow_gdb.recompile import pipe
from bareflow_gdb.recompile.compiler import WORKER, Compiler
from bareflow_gdb.recompile.objects import read_object
from bareflow_gdb.recompile.refusal import BadBitcode, CompilerDied
from bareflow_gdb.recompile.worker import MEMORY_LIMIT
from bareflow_gdb.recompile.worker_words import FIRST_BYTES, LAST_BYTES, WorkerWords


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
    compiler.start()
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


def inlined(deep: int) -> str:
    """`f1` to `f{deep}`: calls that are all inlined into one another, 12^deep additions."""
    return "static int f0(int a) { return a + 1; }\n" + "".join(
        f"static __attribute__((always_inline)) int f{n}(int a) {{ return {' + '.join([f'f{n - 1}(a)'] * 12)}; }}\n"
        for n in range(1, deep + 1)
    )


def test_why_it_died_is_found_behind_any_number_of_remarks(tmp_path: Path) -> None:
    source = inlined(4) + 'int f(int a, int b) { __asm__("no_such_instruction"); return f4(a) + b; }'
    why = "invalid instruction mnemonic.*the inline assembly is not for this target; correct it"
    with Compiler() as compiler, pytest.raises(BadBitcode, match=why):
        compiler.compile(bitcode(tmp_path, source, "-g0"), "f", 1)


def test_a_flood_of_words_is_kept_from_its_beginning_and_its_end() -> None:
    reading, writing = os.pipe()
    try:
        os.set_blocking(reading, False)
        words = WorkerWords(reading)
        for _ in range(100):
            os.write(writing, b"remark: one of many lines of this kind\n" * 1000)
            words.take()
        os.write(writing, b"\nLLVM ERROR: out of memory")
        lines = words.lines()
        assert lines[0] == "remark: one of many lines of this kind" and lines[-1] == "LLVM ERROR: out of memory"
        assert sum(map(len, lines)) < FIRST_BYTES + LAST_BYTES
        words.forget()
        assert words.lines() == []
    finally:
        os.close(reading)
        os.close(writing)


BOMB = f"{inlined(8)}int bomb(int a, int b) {{ return f8(a) + b; }}"


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bitcode(tmp_path_factory.mktemp("bomb"), BOMB, "-g0")


HOST = """
import sys
from pathlib import Path
from bareflow_gdb.recompile.compiler import Compiler
compiler = Compiler()
compiler.wait_ready()
compiler.begin(Path(sys.argv[1]).read_bytes(), "bomb", 3)
compiler.poll(0.1)
print(compiler.pid, flush=True)
while compiler.poll(30.0) is None:
    pass
"""


def test_a_worker_ends_with_the_process_that_asked_although_it_compiles(bomb: bytes, tmp_path: Path) -> None:
    (tmp_path / "bomb.bc").write_bytes(bomb)
    words = [sys.executable, "-c", HOST, str(tmp_path / "bomb.bc")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        worker = int(host.stdout.readline())
        assert started_at(worker)
        host.kill()
    try:
        wait_for(lambda: not started_at(worker), "the worker's end")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


@contextlib.contextmanager
def by_hand(parent: int, cpu_seconds: int) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", WORKER, str(parent), str(cpu_seconds)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        try:
            yield worker
        finally:
            worker.kill()


def test_a_worker_whose_parent_has_gone_before_it_could_ask_for_its_signal_ends() -> None:
    with by_hand(parent=1, cpu_seconds=60) as worker:
        assert worker.wait(300) == 1, "its input is still open"


def test_a_worker_that_nobody_ends_is_ended_by_its_processor_time(bomb: bytes) -> None:
    with by_hand(os.getpid(), cpu_seconds=1) as worker:
        assert worker.stdin is not None
        worker.stdin.write(pipe.encode({"entry": "bomb", "level": 3}, bomb))
        worker.stdin.flush()
        assert worker.wait(300) == -signal.SIGXCPU


def test_processor_time_is_counted_for_each_answer(payload: bytes) -> None:
    with by_hand(os.getpid(), cpu_seconds=3) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        pipe.read_frame(worker.stdout)  # type: ignore[arg-type]
        before = cpu_limit(worker.pid)
        while cpu_limit(worker.pid) == before:
            worker.stdin.write(pipe.encode({"entry": "mixed_main", "level": 3}, payload))
            worker.stdin.flush()
            frame = pipe.read_frame(worker.stdout)  # type: ignore[arg-type]
            assert frame is not None and frame[1]


def cpu_limit(pid: int) -> int:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(int(line.split()[3]) for line in lines if line.startswith("Max cpu time"))


def test_an_object_that_is_too_large_is_refused_and_the_worker_lives(compiler: Compiler, tmp_path: Path) -> None:
    source = f"const char big[{pipe.BODY_BYTES}] = {{1}}; int f(int a, int b) {{ return big[a] + b; }}"
    payload = bitcode(tmp_path, source, "-g0")
    compiler.wait_ready()
    pid = compiler.pid
    with pytest.raises(BadBitcode, match=r"LLVM made an object of 4,\d\d\d,\d\d\d bytes of it, the most is 4,194,304"):
        compiler.compile(payload, "f", 2)
    assert compiler.pid == pid


def test_an_object_that_llvm_cannot_even_hand_over_is_too_large_and_no_defect(
    compiler: Compiler, tmp_path: Path
) -> None:
    source = f"const char big[{MEMORY_LIMIT // 2}] = {{1}}; int f(int a, int b) {{ return big[a] + b; }}"
    payload = bitcode(tmp_path, source, "-g0")
    with pytest.raises(BadBitcode, match="larger than its memory; make it smaller"):
        compiler.compile(payload, "f", 2)


@pytest.mark.parametrize(
    "frame",
    [struct.pack("<II", 2, 0xFFFFFFFF) + b"{}", struct.pack("<II", 0xFFFFFFFF, 0), struct.pack("<II", 2, 0) + b"[]"],
)
def test_a_frame_that_cannot_be_right_is_refused_before_memory_is_taken(frame: bytes) -> None:
    with pytest.raises(pipe.BadFrame):
        pipe.take_frame(bytearray(frame))
    with pytest.raises(pipe.BadFrame):
        pipe.read_frame(io.BytesIO(frame))


def test_a_worker_that_answers_nonsense_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = tmp_path / "liar"
    liar.write_text("#!/bin/sh\nprintf '\\002\\000\\000\\000\\377\\377\\377\\377{}'\nexec sleep 1000\n")
    liar.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(liar))
    with Compiler() as compiler:
        with pytest.raises(CompilerDied, match=r"LLVM answered with a frame of 4,294,967,297 bytes"):
            compiler.compile(b"x", "f", 0)
        assert compiler.pid is None


def test_a_request_that_nobody_takes_does_not_hold_its_sender_up(payload: bytes) -> None:
    with Compiler() as compiler:
        compiler.wait_ready()
        assert compiler.pid is not None
        os.kill(compiler.pid, signal.SIGSTOP)
        compiler.begin(payload.ljust(1 << 20, b"\0"), "mixed_main", 3)  # more than a pipe holds
        assert compiler.poll() is None
        compiler.give_up()
        assert not compiler.busy
        assert compiler.compile(payload, "mixed_main", 3).data
