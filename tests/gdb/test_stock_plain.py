"""A stock kernel in a QEMU as anyone starts it, with a free gdbstub: gdb at five moments, then the program at the halt.

What is true is read by gdb without the suite: registers, `x`, and QEMU's monitor.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gdb_harness import Gdb
from machines import SECONDS, wait_for
from program import bareflow
from stock_raw import calls_of, function_at, nm

from bareflow_gdb.memory.listeners import behind

KERNEL = "field_bare"
ASKED = ("status", "cpu", "irq", "stack", "fat list", "boot", "profile", "modules", "pools", "jit", "swaps")
EARLY = ("profile", "modules", "pools", "jit", "swaps")
"""What no kernel has filled yet."""
STAGES = {"reset": "reset", "early": "loaded", "before": "registered", "at": "running", "after": "running"}


@pytest.fixture
def stub(firmware: Path, tmp_path: Path) -> Iterator[str]:
    """The address of the gdbstub of a plain QEMU that has not run one instruction."""
    path = tmp_path / "stub"
    image = firmware / "stock" / f"{KERNEL}.img"
    words = ["qemu-system-i386", "-m", "64", "-display", "none", "-S", "-gdb", f"unix:{path},server=on,wait=off"]
    words += ["-drive", f"file={image},format=raw,snapshot=on", "-serial", f"file:{tmp_path}/com1", "-monitor", "none"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: behind(f"unix:{path}") == process.pid, "QEMU to listen")
        yield f"unix:{path}"
    finally:
        process.kill()
        process.wait()


def moment(name: str) -> list[str]:
    """All questions, and the same without the suite."""
    questions = [word for text in ASKED for word in (f"echo >>> {name} {text}\\n", f"bf {text} --json")]
    raw = [f"echo >>> {name} raw\\n", 'printf "%x %x\\n", $eip, $esp', "x/33xw &g_pools", "monitor info pic"]
    shown = [word for text in ("screen", "checks --all") for word in (f"echo >>> {name} {text}\\n", f"bf {text}")]
    return [*questions, *raw, *shown]


def record(text: str) -> Any:
    return json.JSONDecoder().raw_decode(text, text.index("{\n"))[0] if "{\n" in text else None


def number(value: Any) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def test_every_moment_is_told_in_gdb_and_the_halt_by_the_program(gdb: Gdb, stub: str, firmware: Path) -> None:
    elf = firmware / "stock" / f"{KERNEL}.elf"
    result = gdb.run(
        f"target remote {stub.removeprefix('unix:')}",
        *moment("reset"),
        "thbreak *0x10004",
        "continue",
        *moment("early"),
        "thbreak adaptive_jit_execute",
        "continue",
        *moment("before"),
        "bf break-swap",
        "continue",
        *moment("at"),
        "delete",
        "thbreak adaptive_jit_execute",
        "continue",
        *moment("after"),
        "delete",
        elf=elf,
    )
    assert "Traceback" not in result.out + result.err
    said = {part.partition("\n")[0]: part.partition("\n")[2] for part in result.out.split(">>> ")[1:]}
    calls = calls_of(elf)
    # What a stub prints gdb shows as an error's text.
    masks = [int(mask, 16) for mask in re.findall(r"imr=([0-9a-f]+)", result.err)]
    assert len(masks) == 2 * len(STAGES)
    for place, (name, stage) in enumerate(STAGES.items()):
        answers = {text: record(said[f"{name} {text}"]) for text in ASKED}
        raw = said[f"{name} raw"]
        eip, esp = (int(word, 16) for word in raw.split()[:2])
        registers = answers["cpu"]["registers"]
        assert (number(registers["eip"]), number(registers["esp"])) == (eip, esp)
        status = answers["status"]
        assert (status["stage"], status["ok"], status["problems"]) == (stage, True, [])
        assert not any(answers[text] for text in EARLY) if name in ("reset", "early") else all(answers.values())
        # Bit 0 of a PIC's mask is its first line.
        pair = {tuple(bool(masks[one] >> bit & 1) for bit in range(8)) for one in (2 * place, 2 * place + 1)}
        lines = [line["masked"] for line in answers["irq"]["lines"]]
        assert {tuple(lines[:8]), tuple(lines[8:])} == pair
        if name == "reset":
            continue
        assert any("no IDT is loaded" in text for text in answers["cpu"]["problems"])
        frame, *callers = answers["stack"]["frames"]
        assert number(frame["code"]) == eip
        assert all(number(caller["code"]) in calls for caller in callers)
        assert function_at(elf, eip) in frame["place"]["text"]
        if name != "early":
            assert len(callers) >= 2
            _tables(answers, raw, name)
    assert "SeaBIOS" in said["early screen"] and "[OK] Test passed!" in said["after screen"]
    assert "warning: no IDT is loaded" in said["before checks --all"] and "warning" not in said["early checks --all"]
    assert "overwrites EBX" in said["before checks --all"] and "are the same code" in said["at checks --all"]
    assert "could not look" not in "".join(said[f"{name} checks --all"] for name in STAGES)
    _program(stub, elf)


def _tables(answers: dict[str, Any], raw: str, name: str) -> None:
    data = [
        int(word, 16) for line in re.findall(r"^0x\w+.*:((?:\t0x\w+)+)$", raw, re.MULTILINE) for word in line.split()
    ]
    pools = [data[at : at + 11] for at in (0, 11, 22)]
    assert [
        [number(pool[field]) for field in ("base", "size", "used", "free", "allocations", "frees", "peak")]
        for pool in answers["pools"]["pools"]
    ] == [[pool[0], pool[1], *pool[4:9]] for pool in pools]
    (function,) = answers["jit"]["functions"]
    level = 0 if name == "before" else 1
    assert (function["level"], function["calls"]) == (level, 100 * level)
    (profiled,) = answers["profile"]["functions"]
    assert (profiled["level"], profiled["address"]) == (level, function["current_code"])
    assert [(swap["from_level"], swap["to_level"]) for swap in answers["swaps"]["swaps"]] == [(0, 1)] * level


def _program(stub: str, elf: Path) -> None:
    """gdb has left, so that the guest ran to its end."""

    def asked(*words: str, code: int | None = 0) -> str:
        done = bareflow(*words, stub, COLUMNS="200")
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout

    wait_for(lambda: "System halted." in asked("screen", code=None), "the halt", SECONDS)
    cpu = record(asked("cpu", "--json", "--elf", str(elf), code=1))
    eip = number(cpu["registers"]["eip"])
    assert function_at(elf, eip) == "kernel_main" and any("no IDT is loaded" in text for text in cpu["problems"])
    stack = record(asked("stack", "--json", "--elf", str(elf)))
    assert number(stack["frames"][0]["code"]) == eip
    assert {line["handler"] for line in record(asked("irq", "--json"))["lines"]} <= {0, None, "0x00000000"}
    assert "no second disk" in asked("fat", "list")
    assert "[Call 101] Now running at O1" in asked("serial")
    boot = record(asked("boot", "--json", "--elf", str(elf)))
    assert number(boot["kernel"]) == nm(elf)["_start"][0] - 4
    # Registers cost a running guest a stop: only who asks for all of it pays that.
    quiet = asked("checks", "--elf", str(elf), code=1)
    assert "it would stop the running guest" in quiet and "no IDT is loaded" not in quiet
    checks = asked("checks", "--all", "--elf", str(elf), code=1)
    for defect in (
        "it printed call 101, 100 are counted",
        "overwrites EBX",
        "no IDT is loaded",
        "halted for good (kernel_main",
        "the pools are torn down",
        "it has underflowed",
    ):
        assert defect in checks, checks
