"""Code from the host in a stock kernel that runs: installed without its help, told by every question, taken back."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import SECONDS, Boot, wait_for, wait_for_halt

from bareflow_gdb.cli.main import main
from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

WRONG = "static const int seven[] = {7, 8, 8, 8};\nint fibonacci_main(int a, int b) { return seven[a & 3] + b; }\n"
RIGHT = """
int fibonacci_main(int a, int b) {
    unsigned before = 0, now = 1;
    for (; a > 0; a--) { unsigned next = before + now; before = now; now = next; }
    return (int)before + b;
}
"""
KEY = {"type": "qcode", "data": "spc"}


@pytest.fixture(scope="module")
def waiting(firmware: Path) -> Iterator[Machine]:
    """The stock kernel that waits for a key before its adaptive run: its functions are registered, none is called."""
    machine = launch(firmware / "stock" / "stock_interactive.img", with_disk=False)
    for pause in ("the module tests", "the module statistics"):
        wait_for(lambda pause=pause: _waits_before(machine, pause), pause)
        machine.qmp("send-key", keys=[KEY])
    wait_for(lambda: _waits_before(machine, "the adaptive run"), "the adaptive run")
    yield machine
    machine.stop()


def _waits_before(machine: Machine, what: str) -> bool:
    return f"Press any key: {what}".encode() in machine.read_screen()[::2]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "fix.c"


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out + said.err


def test_it_is_installed_told_by_every_question_and_taken_back(
    waiting: Machine, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = waiting.name
    source.write_text(WRONG)
    code, said = asked(capsys, "recompile", "fibonacci", "--from", str(source), "--json", name)
    wrong = json.loads(said)
    assert code == 0 and wrong["state"] == "installed" and wrong["verification"]["state"] == "differs"
    assert wrong["rodata_size"] == 16
    code, said = asked(capsys, "jit", name)
    assert code == 0, "code from the host is no contradiction"
    assert f"fibonacci@O3 #1 in place of {wrong['replaced']}; `swap rollback fibonacci` takes it back" in said
    assert f"{wrong['code']}    agrees" in said
    assert re.search(rf"fibonacci +fibonacci +O3 .* {wrong['code']}", asked(capsys, "profile", name)[1])
    assert asked(capsys, "checks", name)[0] == 0
    assert "fibonacci@O3 #1, from the host" in asked(capsys, "identify", wrong["code"], name)[1]
    assert "fibonacci@O3 #1" in asked(capsys, "disas", "fibonacci", name)[1]
    source.write_text(RIGHT)
    code, said = asked(capsys, "recompile", "fibonacci", "--tier", "O2", "--from", str(source), name)
    assert code == 0 and "fibonacci@O2 #2 installed" in said and "in place of " + wrong["code"] in said
    assert "differs     from fibonacci@O3 #1, as edited source may" in said
    # Its own way back is the code before it, and each is there to be gone back to.
    assert "fibonacci@O2 #2 → fibonacci@O3 #1;" in asked(capsys, "swap", "rollback", "fibonacci", name)[1]
    assert "fibonacci@O3 #1 → fibonacci@O2 #2;" in asked(capsys, "swap", "rollback", "fibonacci", "2", name)[1]
    for _ in range(2):
        code, said = asked(capsys, "swap", "rollback", "fibonacci", name)
        assert code == 0
    assert "fibonacci@O3 #1 → fibonacci@O0; the kernel's own code runs again" in said
    code, said = asked(capsys, "swap", "rollback", "fibonacci", name)
    assert code == 1 and "nothing is there to be taken back" in said
    assert asked(capsys, "jit", name)[0] == 0


def test_what_cannot_be_done_safely_is_refused_with_the_reason_and_changes_nothing(
    waiting: Machine, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = waiting.name
    before = waiting.read_physical(0x10000, 0x80000)
    source.write_text("int calls;\nint fibonacci_main(int a, int b) { return a + b + calls++; }\n")
    words = ("recompile", "fibonacci", "--from", str(source), name)
    code, said = asked(capsys, *words)
    assert code == 1 and "rejected (link failed): writable data calls is not among" in said
    source.write_text('int fibonacci_main(int a, int b) { __asm__ volatile("std"); return a + b; }\n')
    code, said = asked(capsys, *words)
    assert code == 1 and "rejected (differs)" in said and "direction flag" in said
    source.write_text(
        "int fibonacci_main(int a, int b) { return a + b; }\nchar text[] = {[8000] = 1};\n".replace(
            "char", "const char"
        )
    )
    code, said = asked(capsys, *words)
    assert code == 1 and "its buffer has" in said and "take a lower tier" in said
    assert asked(capsys, "recompile", "fibonacci", name)[1].endswith(
        "this kernel carries no bitcode of fibonacci; give its source with --from FILE.c\n"
    )
    assert "its functions are fibonacci, sum, compute" in asked(capsys, "recompile", "gemm_tile", name)[1]
    for action in ("veto", "allow", "force"):
        code, said = asked(capsys, "swap", action, "fibonacci", name)
        assert code == 2 and f"it knows no {action}; `swap rollback` takes back what" in said
    source.write_text(RIGHT)
    with socket.socket(socket.AF_UNIX) as debugger:
        debugger.connect(str(waiting.gdb_socket))
        debugger.sendall(b"$c#63")
        wait_for(lambda: waiting.status() == "running", "what the debugger asked for")
        code, said = asked(capsys, *words)
        assert code == 2 and "a debugger is connected to machine" in said
    assert waiting.read_physical(0x10000, 0x80000) == before
    assert waiting.status() == "running"


def test_the_guest_executes_it_until_it_swaps_the_function_itself(
    waiting: Machine, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = waiting.name
    source.write_text(WRONG)
    assert asked(capsys, "recompile", "fibonacci", "--from", str(source), name)[0] == 0
    core = source.with_suffix(".core")
    waiting.dump_core(core)
    assert "from the host  fibonacci@O3 #" in asked(capsys, "jit", str(core))[1]
    waiting.qmp("send-key", keys=[KEY])
    wait_for_serial(waiting, "--- END JSON ---", SECONDS)
    wait_for_halt(waiting)
    # Its own threshold comes with call 100.
    assert waiting.serial().count("[ERROR] fibonacci: 7 (expected: 6765)") == 100
    assert "Total calls: 10001" in waiting.serial()
    code, said = asked(capsys, "swap", "rollback", "fibonacci", name)
    assert code == 1 and "it runs the kernel's own code, and nothing is there to be taken back" in said
    code, said = asked(capsys, "recompile", "fibonacci", "--from", str(source), name)
    assert code == 1 and "rejected (cancelled): the guest has halted for good, and would never call new code" in said


def test_a_guest_whose_buffers_are_given_back_takes_nothing(
    firmware: Path, launched: Boot, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = launched(firmware / "stock" / "field_microjit.img", with_disk=False)
    wait_for_serial(machine, "--- END JSON ---", SECONDS)
    wait_for_halt(machine)
    source.write_text(RIGHT)
    code, said = asked(capsys, "recompile", "fibonacci", "--from", str(source), machine.name)
    assert code == 1 and "the code buffer of fibonacci has been given back" in said
