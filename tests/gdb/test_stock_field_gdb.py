"""gdb at stock kernels as others build them: callers, swap stops in words, and scripts that end when the guest does."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from gdb_harness import ROOT, SCRIPT, Gdb
from machines import SECONDS, Boot

SCRIPTS = ROOT / "gdb_scripts"
AT_ENTRY = ("thbreak *0x10004", "continue")
WORDS = re.compile(
    r"fibonacci: O0 → O1, call 100 \(threshold\), new code 0x(?P<new>\w+) published in place of 0x(?P<old>\w+)"
)


def script(gdb: Gdb, name: str, machine: str, elf: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script from the kernel's first instruction on."""
    commands = [word for command in (f"bf attach {machine}", *AT_ENTRY) for word in ("-ex", command)]
    return subprocess.run(
        [str(gdb.path), "-nx", "-batch", "-x", str(SCRIPT), *commands, "-x", str(SCRIPTS / f"{name}.py"), str(elf)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "BF_OUT": str(folder / "out")},
    )


@pytest.mark.parametrize("kernel", ("field_microjit", "field_bare"))
@pytest.mark.parametrize(
    ("name", "status", "said"),
    (
        ("trace_swaps", 0, "1 swaps in"),
        ("stop_at_first_swap", 0, "O0 → O1, call 100 (threshold), new code"),
        ("dump_at_exception", 0, "no exception; the guest has halted"),
    ),
)
def test_every_script_ends_when_the_guest_halts(
    gdb: Gdb, firmware: Path, launched: Boot, tmp_path: Path, kernel: str, name: str, status: int, said: str
) -> None:
    stock = firmware / "stock"
    machine = launched(stock / f"{kernel}.img", with_disk=False, paused=True)
    done = script(gdb, name, machine.name, stock / f"{kernel}.elf", tmp_path)
    assert (done.returncode, said in done.stdout) == (status, True), done.stdout + done.stderr
    if name == "trace_swaps":
        (swap,) = (json.loads(line) for line in (tmp_path / "out").read_text().splitlines())
        assert (swap["function"], swap["old_level"], swap["level"]) == ("fibonacci", 0, 1)
        assert (swap["call"], swap["reason"]) == (100, "threshold")


def test_callers_of_code_without_a_prologue_are_right_and_swap_stops_are_in_words(
    gdb: Gdb, firmware: Path, launched: Boot
) -> None:
    stock = firmware / "stock"
    machine = launched(stock / "field_microjit.img", with_disk=False, paused=True)
    result = gdb.run(
        f"bf attach {machine.name}",
        "thbreak adaptive_jit_execute",
        "continue",
        "bf break jit:fibonacci@O0",
        "continue",
        "bt",
        "finish",
        "delete 2",
        "bf break-swap",
        "continue",
        "bf status",
        "bf swaps",
        "bf break jit:fibonacci@O1",
        "continue",
        "stepi 4",
        "bt",
        "finish",
        elf=stock / "field_microjit.elf",
    )
    callers = r"#1 .* in adaptive_jit_execute \(\)\n#2 .* in run_adaptive \(\)\n#3 .* in kernel_main"
    for level in (0, 1):
        assert re.search(rf"in fibonacci@O{level} \(\)\n{callers}", result.out), result.out
    assert len(re.findall(r"^0x\w+ in adaptive_jit_execute \(\)$", result.out, re.MULTILINE)) == 2
    swap = WORDS.search(result.out)
    # What is wrong with this kernel's code is said, and nothing of the swap is taken for wrong.
    problems = re.findall(r"^problem: (.*)$", result.out, re.MULTILINE)
    assert swap is not None and len(problems) == 3
    assert all("overwrites EBX" in text or "are the same code" in text for text in problems), problems
    assert result.out.count("being published  fibonacci O0 → O1, new code 0x") == 2, "by status and by swaps"
    # At that stop the level is not stored yet: the swap is told all the same.
    row = rf"O0 +O1 same code +100 +threshold +- +0x{swap['old']} +0x{swap['new']} +23"
    assert re.search(row, result.out), result.out
