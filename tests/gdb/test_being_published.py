"""Between the store of a code pointer and the records of it: one name, no problem; what stays so is a finding."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, Gdb, bareflow

from bareflow_gdb.abi import layouts
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
NAME = "being published"
TOLD = f"{NAME}  primes O0 → O1, new code 0x"
ASKED = ("status", "swaps", "jit")
# One instruction after the other, until the old version is retired: who names the moment, and who finds a fault?
# Asked is again when something was stored in the memory that the kernel uses.
ALL_THE_WAY = """python exec('''
import gdb, json, zlib
def ask(words):
    return json.loads(gdb.execute("bf " + words + " --json", to_string=True))
def stored():
    with open("RAM", "rb") as ram:
        return zlib.crc32(ram.read(8 << 20))
seen, last = [], None
for _ in range(420):
    now = stored()
    if now == last:
        gdb.execute("stepi", to_string=True)
        continue
    last = now
    status, swaps, jit = (ask(name) for name in ("status", "swaps", "jit"))
    found = ask("checks published")["findings"]
    named = [bool(status["publishing"]), bool(swaps["publishing"]),
             any(one["publishing"] for one in jit["functions"]), bool(found)]
    bad = [*status["problems"], *jit["problems"], *(one["what"] for one in found if one["severity"] != "note")]
    seen.append((named, bad))
    if jit["functions"][3]["versions"][0]["state"] == "retired":
        break
    gdb.execute("stepi", to_string=True)
print("NAMED", sum(all(named) for named, _ in seen), "LAST", any(seen[-1][0]), jit["functions"][3]["level"])
print("DISAGREE", [named for named, _ in seen if len(set(named)) > 1], "BAD", [bad for _, bad in seen if bad])
''')"""


@pytest.fixture
def held(booted: Boot) -> Machine:
    """A guest that waits before its run."""
    return booted(stage="registered", hold=1)


def test_every_question_names_the_moment_in_gdb_and_in_a_shell(gdb: Gdb, held: Machine) -> None:
    asked = [f"bf {name}" for name in (*ASKED, "checks")]
    shell = [f"shell {sys.executable} -m bareflow_gdb.cli.main {name} {held.name}" for name in (*ASKED, "checks")]
    result = gdb.run(f"bf attach {held.name}", "bf release", "bf step-swap primes --stay", *asked, *shell)
    assert result.out.count(TOLD) == 2 * len(ASKED), result.out
    assert result.out.count(f"note: {NAME}: primes O0 → O1") == 2
    assert len(re.findall(r"primes +O0 → O1 +#4", result.out)) == 4, "by status and by jit"
    assert "problem" not in result.out
    assert len(re.findall(r"fft_1d +O0 +#5 +- +413,810", result.out)) == 2, (
        "it was never called, so it returned nothing"
    )


@pytest.mark.parametrize("gdb", ["gdb-debian"], indirect=True)
def test_all_the_way_through_the_swap_they_agree(gdb: Gdb, held: Machine) -> None:
    stop = ("bf release", "bf step-swap primes --stay --lines 1")
    all_the_way = ALL_THE_WAY.replace("RAM", str(held.ram_path))
    result = gdb.run(f"bf attach {held.name}", *stop, all_the_way, elf=KERNEL)
    named = re.search(r"^NAMED (\d+) LAST False 1$", result.out, re.MULTILINE)
    assert named is not None and int(named[1]) > 30, result.out + result.err
    assert "DISAGREE [] BAD []" in result.out, result.out[-3000:]


def test_a_store_that_was_lost_is_a_finding(gdb: Gdb, held: Machine) -> None:
    lost = ("bf break-swap primes", "continue", "delete", "set $eip = $eip + 2")
    result = gdb.run(
        f"bf attach {held.name}", "bf release", *lost, 'tbreak *$bf_func("primes")', "continue", "bf jit", "bf checks"
    )
    assert NAME not in result.out
    assert "problem: primes runs 0x" in result.out
    assert "the swap to primes@O1 #22 did not take effect" in result.out


def test_records_that_never_follow_are_a_finding(gdb: Gdb, held: Machine) -> None:
    # Out of the function that swaps, and out of the one that was to write the records of it.
    forgotten = ("bf step-swap primes --stay", "finish", "return", "bf status", "tbreak adaptive_jit_call", "continue")
    result = gdb.run(
        f"bf attach {held.name}",
        "set confirm off",
        "bf release",
        *forgotten,
        "finish",
        "echo ====\\n",
        "bf jit",
        "bf checks",
        elf=KERNEL,
    )
    moment, after = result.out.split("====\n")
    assert TOLD in moment
    assert NAME not in after
    assert "problem: primes runs 0x" in after and "did not take effect" in after


def test_a_guest_that_stays_inside_the_swap_is_a_finding(gdb: Gdb, held: Machine) -> None:
    # jmp .: it runs, and its version table never follows.
    stuck = ("bf step-swap primes --stay", "set {unsigned short} $eip = 0xfeeb", "bf status --json", "detach")
    result = gdb.run(f"bf attach {held.name}", "bf release", *stuck)
    assert result.values()[0]["problems"] == []
    said = bareflow("checks", held.name)
    assert said.code == 1 and f"error: {NAME}: primes O0 → O1, and it does not end" in said.out
    assert json.loads(bareflow("status", held.name, "--json").out)["ok"] is False


def test_on_a_stock_kernel_too_and_its_record_that_never_follows(gdb: Gdb, firmware: Path, launched: Boot) -> None:
    stock = firmware / "stock"
    machine = launched(stock / "stock.img", paused=True, with_disk=False)
    entry = "jit_function_entry"
    level = layouts.offset(entry, "compiled_level") - layouts.offset(entry, "current_code")
    result = gdb.run(
        f"bf attach {machine.name}",
        "thbreak adaptive_jit_execute",
        "continue",
        "bf watch fibonacci",
        "python slot = int(gdb.breakpoints()[0].location or gdb.breakpoints()[0].expression.split()[-1], 16)",
        "continue",
        *(f"bf {name}" for name in ASKED),
        "delete",
        "tbreak adaptive_jit_execute",
        "continue",
        "echo ====\\n",
        *(f"bf {name}" for name in ASKED),
        'tbreak adaptive_jit_execute if $bf_calls("fibonacci") > 104',
        "continue",
        f"python gdb.execute(f'set {{{{int}}}} {{slot + {level}}} = 0')",
        "echo ====\\n",
        "bf jit",
        "bf status",
        elf=stock / "stock.elf",
    )
    moment, after, never = result.out.split("====\n")
    assert moment.count(f"{NAME}  fibonacci O0 → O1, new code 0x") == len(ASKED), moment
    assert NAME not in after and "problem" not in moment + after
    assert NAME not in never and never.count("problem: fibonacci runs its O1 code") == 2, never
