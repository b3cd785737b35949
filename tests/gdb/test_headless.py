"""gdb_scripts/ on the real guest: `gdb -batch`, arguments by variables or environment, exit status."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import ROOT, SCRIPT, SECONDS, Gdb, Result, bareflow
from rsp_proxy import RspProxy
from stock_twin import symbols as symbols_of

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
SCRIPTS = ("trace_swaps", "stop_at_first_swap", "dump_at_exception", "post_mortem")
# A division by zero: xor ecx, ecx; xor edx, edx; div ecx.
DIVIDE_BY_ZERO = "31 c9 31 d2 f7 f1"
UD2 = "0f 0b"
# mov ax, 0xf8; mov ds, ax: there is no such segment.
WRONG_SEGMENT = "66 b8 f8 00 8e d8"


@pytest.fixture
def held(booted: Boot) -> Machine:
    return booted(stage="registered", hold=1)


def script(gdb: Gdb, name: str, before: tuple[str, ...], after: tuple[str, ...] = (), **variables: str) -> Result:
    """A script of gdb_scripts/ in batch mode, as its docstring says."""
    words = [str(gdb.path), "-nx", "-batch", "-x", str(SCRIPT)]
    for command in before:
        words += ["-ex", command]
    words += ["-x", str(ROOT / "gdb_scripts" / f"{name}.py")]
    for command in after:
        words += ["-ex", command]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "NO_COLOR": "1", **variables},
    )
    assert "Traceback" not in done.stderr
    return Result(done.stdout, done.stderr, done.returncode)


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_tells_how_it_is_run(name: str) -> None:
    text = (ROOT / "gdb_scripts" / f"{name}.py").read_text().split('"""')[1]
    usage = next(line for line in text.splitlines() if "gdb -batch" in line)
    assert usage.startswith("    ") and usage.endswith(f"gdb_scripts/{name}.py")
    assert "Arguments: " in text and "Exit status: 0" in text


def test_every_swap_of_the_run_is_in_the_file(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    out = tmp_path / "swaps.jsonl"
    result = script(gdb, "trace_swaps", (f"bf attach {held.name}", "bf release"), BF_OUT=str(out))
    assert result.code == 0
    written = [json.loads(line) for line in out.read_text().splitlines()]
    swaps = Guest.attach(held.memory()).kernel().swaps().swaps
    assert [(w["function"], w["level"], w["version"]) for w in written] == [
        (s.function, s.to_level, s.to_version) for s in swaps
    ]
    assert len(written) == 36
    assert {w["reason"] for w in written} == {"threshold"}
    assert [(w["old_level"], w["call"]) for w in written] == [(s.from_level, s.call) for s in swaps]


def test_a_stock_kernels_swaps_are_traced_by_watchpoints(
    gdb: Gdb, firmware: Path, launched: Boot, tmp_path: Path
) -> None:
    elf = firmware / "stock" / "stock.elf"
    machine = launched(firmware / "stock" / "stock.img", paused=True, with_disk=False)
    result = script(
        gdb,
        "trace_swaps",
        (
            f"file {elf}",
            f"bf attach {machine.name}",
            "thbreak adaptive_jit_register_function",
            "continue",
            "finish",
            "set $bf_count = 2",
            f'set $bf_out = "{tmp_path / "swaps.jsonl"}"',
        ),
    )
    assert result.code == 0, result.err
    written = [json.loads(line) for line in (tmp_path / "swaps.jsonl").read_text().splitlines()]
    assert len(written) == 2
    assert all(int(w["new"], 16) and w["old"] != w["new"] for w in written)
    assert [(w["old_level"], w["level"], w["reason"]) for w in written] == [(n, n + 1, "threshold") for n in range(2)]


def test_the_first_swap_of_one_function_stops_the_guest_before_the_store(gdb: Gdb, held: Machine) -> None:
    result = script(
        gdb,
        "stop_at_first_swap",
        (f"bf attach {held.name}", "bf release", 'set $bf_function = "sum"'),
        ('printf "pointer %#x new %#x\\n", *(unsigned*)$edx, $eax', "maint info breakpoints"),
    )
    said = next(line for line in result.out.splitlines() if line.startswith("sum: ")).split()
    pointer = next(line for line in result.out.splitlines() if line.startswith("pointer ")).split()
    assert result.code == 0
    assert " ".join(said[:8]) == "sum: O0 → O1, call 10 (threshold), new"
    assert int(pointer[1], 16) == int(said[-1], 16), "the old code is still published"
    assert int(pointer[3], 16) == int(said[9], 16)
    assert "No breakpoints" in result.out


def test_a_run_that_ends_without_the_swap_is_status_1(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1, thresholds=(10**6, 10**7, 10**8), run_calls=20)
    result = script(gdb, "stop_at_first_swap", (f"bf attach {machine.name}", "bf release"), ("echo reached",))
    assert result.code == 1
    assert "the run ended without a swap" in result.out
    assert "reached" not in result.out


def test_a_run_without_swaps_is_status_1_too(gdb: Gdb, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1, thresholds=(10**6, 10**7, 10**8), run_calls=20)
    out = tmp_path / "swaps.jsonl"
    result = script(gdb, "trace_swaps", (f"bf attach {machine.name}", "bf release"), BF_OUT=str(out))
    assert (result.code, out.read_text()) == (1, "")
    assert f"0 swaps in {out}" in result.out


@pytest.mark.parametrize(("code", "name"), ((UD2, "#UD"), (DIVIDE_BY_ZERO, "#DE")), ids=("ud2", "divide"))
def test_an_exception_in_jit_code_is_dumped_with_everything(
    gdb: Gdb, held: Machine, tmp_path: Path, code: str, name: str
) -> None:
    out = tmp_path / "dump"
    spoiled = [f'set {{unsigned char}}($bf_func("primes") + {at}) = 0x{byte}' for at, byte in enumerate(code.split())]
    result = script(gdb, "dump_at_exception", (f"bf attach {held.name}", "bf release", *spoiled), BF_OUT=str(out))
    assert result.code == 1, result.err
    exception = json.loads((out / "exception.json").read_text())
    assert exception["name"].startswith(name)
    assert "primes" in (out / "identify.json").read_text(), "whose code it was"
    assert f"everything is in {out}" in result.out
    for question in ("status", "boot", "cpu", "modules", "pools", "jit", "profile", "swaps", "log"):
        assert json.loads((out / f"{question}.json").read_text())
    assert name in (out / "summary.txt").read_text()
    # The core tells the same, without the machine.
    assert bareflow("exception", "--json", str(out / "guest.core")).json() == exception
    root = Guest.attach(held.memory()).root().address + layouts.offset("bf_root", "hook_mask")
    assert held.memory().read(root, 4, "hook mask") == bytes(4), "it is as it was"
    told = script(gdb, "post_mortem", (f"core-file {out / 'guest.core'}",))
    assert told.code == 1
    assert name in told.out and "Stack" in told.out and "[ADAPTIVE-JIT]" in told.out


def poked(place: str, code: str) -> list[str]:
    """Commands that put machine code somewhere."""
    return [f"set {{unsigned char}}({place} + {at}) = 0x{byte}" for at, byte in enumerate(code.split())]


@pytest.fixture
def stock(firmware: Path) -> Path:
    """The directory of the stock kernels."""
    return firmware / "stock"


@pytest.mark.parametrize(
    ("code", "name", "error"),
    ((UD2, "#UD", 0), (DIVIDE_BY_ZERO, "#DE", 0), (WRONG_SEGMENT, "#GP", 0xF8)),
    ids=("ud2", "divide", "segment"),
)
def test_a_stock_kernels_exception_is_dumped_as_it_was_taken(
    gdb: Gdb, stock: Path, launched: Boot, tmp_path: Path, code: str, name: str, error: int
) -> None:
    machine, out = launched(stock / "stock.img", paused=True, with_disk=False), tmp_path / "dump"
    symbols = symbols_of(stock / "stock.elf")
    place = symbols["embedded_sum"] + 48
    # Where the tests of the modules begin the interrupt table is set; before, only the ELF tells of it.
    begin, elf = ("test_modules", []) if name == "#DE" else ("kernel_main", [f"file {stock / 'stock.elf'}"])
    result = script(
        gdb,
        "dump_at_exception",
        (*elf, f"bf attach {machine.name}", f"thbreak *{symbols[begin]}", "continue", *poked(str(place), code)),
        BF_OUT=str(out),
    )
    assert result.code == 1, result.err
    exception = json.loads((out / "exception.json").read_text())
    length = 0 if name == "#UD" else 4
    assert exception["name"].startswith(name)
    assert int(exception["registers"]["eip"], 16) == place + length
    assert int(exception["error_code"], 16) == error
    if name == "#DE":
        assert int(exception["registers"]["ecx"], 16) == 0
    assert json.loads((out / "identify.json").read_text())["name"] == "module sum"
    frames = json.loads((out / "stack.json").read_text())["frames"]
    assert int(frames[0]["code"], 16) == place + length
    for question in ("status", "cpu", "modules", "pools", "screen"):
        assert json.loads((out / f"{question}.json").read_text())
    summary = (out / "summary.txt").read_text()
    for text in (name, "[TEST 1] Simple Sum Module", "[serial] init ok", "jit: no adaptive JIT"):
        assert text in summary
    if name == "#GP":
        told = script(gdb, "post_mortem", (f"core-file {out / 'guest.core'}",))
        assert "stock kernel, no debug interface" in told.out and "gdb_scripts/dump_at_exception.py" in told.out


def test_a_stock_kernel_that_halted_before_tells_by_its_screen(
    gdb: Gdb, stock: Path, launched: Boot, tmp_path: Path
) -> None:
    out, symbols = tmp_path / "dump", symbols_of(stock / "stock.elf")
    machine = launched(stock / "stock.img", paused=True, with_disk=False)
    gdb.run(
        f"bf attach {machine.name}",
        f"thbreak *{symbols['test_modules']}",
        "continue",
        *poked(str(symbols["embedded_sum"] + 48), UD2),
        f"break *{symbols['cpu_halt']}",
        "continue",
        "delete",
        "stepi 4",
    )
    result = script(gdb, "dump_at_exception", (f"bf attach {machine.name}",), BF_OUT=str(out))
    assert result.code == 1, result.err
    assert "the guest has printed an exception and halted" in result.out
    assert "[EXCEPTION] vector 6" in (out / "summary.txt").read_text()
    assert not (out / "exception.json").exists()


def test_a_stock_run_without_an_exception_is_status_0_and_without_symbols_one_sentence(
    gdb: Gdb, stock: Path, launched: Boot, tmp_path: Path
) -> None:
    # The end of a gdb lets its guest run on, so each gdb has a machine of its own.
    first, machine = (launched(stock / "stock.img", paused=True, with_disk=False) for _ in range(2))
    out = tmp_path / "dump"
    unknown = script(gdb, "dump_at_exception", (f"bf attach {first.name}",), BF_OUT=str(out))
    assert (unknown.code, "load its ELF that has symbols" in unknown.err) == (2, True)
    attach = (f"file {stock / 'stock.elf'}", f"bf attach {machine.name}")
    result = script(gdb, "dump_at_exception", attach, BF_OUT=str(out))
    assert result.code == 0, result.err
    assert "no exception; the guest has halted" in result.out
    assert not out.exists()


def test_a_run_without_an_exception_is_status_0(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    out = tmp_path / "dump"
    result = script(gdb, "dump_at_exception", (f"bf attach {held.name}", "bf release"), BF_OUT=str(out))
    assert result.code == 0
    assert "no exception; the guest is at stage idle" in result.out
    assert not out.exists()


def test_a_healthy_core_is_status_0(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    core = tmp_path / "guest.core"
    idle_machine.dump_core(core)
    result = script(gdb, "post_mortem", (f"core-file {core}",), BF_LAST="100")
    assert result.code == 0
    for title in ("Status", "Boot", "Swaps"):
        assert title in result.out


@pytest.mark.parametrize(
    ("name", "words"),
    (
        ("trace_swaps", "the run has ended already"),
        ("stop_at_first_swap", "the run has ended already"),
        ("post_mortem", "gdb has no core"),
    ),
)
def test_what_cannot_be_looked_at_is_status_2_and_one_sentence(
    gdb: Gdb, idle_machine: Machine, tmp_path: Path, name: str, words: str
) -> None:
    result = script(gdb, name, (f"bf attach {idle_machine.name}",), BF_OUT=str(tmp_path / "out"))
    assert result.code == 2
    assert words in result.err


def test_a_wrong_argument_and_no_machine_are_status_2(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    attach = f"bf attach {held.name}"
    out = str(tmp_path / "out")
    wrong = script(gdb, "trace_swaps", (attach,), BF_COUNT="many", BF_OUT=out)
    assert (wrong.code, "not a number" in wrong.err) == (2, True)
    unknown = script(gdb, "trace_swaps", (attach,), BF_FUNCTION="moon", BF_OUT=out)
    assert (unknown.code, "no function 'moon'" in unknown.err) == (2, True)
    nobody = script(gdb, "trace_swaps", (), BF_MACHINE="nobody", BF_OUT=out)
    assert (nobody.code, "no machine named nobody" in nobody.err) == (2, True)


def test_a_stop_of_somebody_else_is_status_2_with_what_came_until_then(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    out = tmp_path / "swaps.jsonl"
    before = (f"bf attach {held.name}", "bf release", "bf break jit:sum@O2")
    result = script(gdb, "trace_swaps", before, BF_OUT=str(out))
    assert result.code == 2
    assert "breakpoint 1 stopped the guest; what came until then is complete" in result.err
    assert len(out.read_text().splitlines()) == 5


def test_without_the_machine_qemus_monitor_writes_the_core(gdb: Gdb, held: Machine, tmp_path: Path) -> None:
    out = tmp_path / "dump"
    spoiled = [f'set {{unsigned char}}($bf_func("primes") + {at}) = {byte}' for at, byte in ((0, 15), (1, 11))]
    with RspProxy(tmp_path / "gdb.sock", held.gdb_socket) as proxy:
        before = (f"target remote {proxy.path}", "bf release", *spoiled)
        result = script(gdb, "dump_at_exception", before, BF_OUT=str(out))
    assert result.code == 1, result.err
    assert bareflow("exception", "--json", str(out / "guest.core")).json()["name"].startswith("#UD")


def test_what_a_stock_kernel_does_not_tell_is_said_and_the_rest_goes_on(gdb: Gdb, ended: Boot, tmp_path: Path) -> None:
    core = tmp_path / "stock.core"
    ended("stock").dump_core(core)
    result = script(gdb, "post_mortem", (f"core-file {core}",))
    assert result.code == 0, result.err
    assert "cache: this is a stock kernel, without the debug interface: its cache is part of its image" in result.out
    assert "Swaps" in result.out and "code pool" in result.out
