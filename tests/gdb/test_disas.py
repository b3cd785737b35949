"""`bf disas` and `bareflow disas`: the code that runs, named; by tier; two tiers aligned; real-mode code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gdb_harness import KERNEL, Gdb, bareflow
from machines import Boot

from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine


def test_the_published_tier_is_what_gdb_itself_disassembles(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        "set disassembly-flavor intel",
        "bf disas sum",
        "echo ====\\n",
        'x/12i $bf_func("sum")',
    )
    ours, theirs = result.out.split("====\n")
    version = Guest.attach(idle_machine.memory()).kernel().jit().functions[1].version
    assert re.search(rf"^sum@O3 #{version}: \d+ bytes at 0x\w+, 32-bit code", ours, re.MULTILINE)
    listed = re.findall(r"^   (\w{8}) \+\w+  \w+…? +(\w+)", ours, re.MULTILINE)[:12]
    expected = re.findall(r"^ +0x(\w+)[^:]*:\s+(\w+)", theirs, re.MULTILINE)
    assert [(int(a, 16), name) for a, name in listed] == [(int(a, 16), name) for a, name in expected]


def test_shared_data_is_named_and_tiers_are_told_apart(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf disas primes --tier O1 --json", elf=KERNEL)
    record = result.json()
    versions = [v for v in Guest.attach(idle_machine.memory()).kernel().versions() if v.function_name == "primes"]
    first = next(v for v in versions if v.level == 1)
    assert (record["level"], record["version"], int(record["address"], 16)) == (1, first.number, first.code)
    assert any(line["note"].startswith("primes_sieve") for line in record["lines"])
    raw = idle_machine.memory().read(first.code, first.code_size, "code").hex()
    assert "".join(line["code"] for line in record["lines"]) == raw


def test_kernel_code_is_named_by_exports_and_by_the_elf(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf disas publish_version --bytes 400", elf=KERNEL)
    assert re.search(r"call 0x\w+ +; adaptive_jit_swap_code", result.out)
    assert re.search(r"; adaptive_jit\+|; function_table", result.out), "named by the ELF alone"


def test_two_tiers_are_aligned(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf disas sum --diff O1 O3", "bf disas sum --diff O1 O1")
    assert re.search(r"sum@O1 #\d+, \d+ bytes at .*sum@O3 #\d+, \d+ bytes", result.out)
    assert re.search(r"^\+000 push ebp +\+000 push ebp$", result.out, re.MULTILINE)
    equal = re.findall(r"^(\d+) of (\d+) lines are equal", result.out, re.MULTILINE)
    assert int(equal[0][0]) < int(equal[0][1]) and equal[1][0] == equal[1][1]


def test_real_mode_code_is_decoded_as_16_bit_code(gdb: Gdb, image: Path, launched: Boot) -> None:
    machine = launched(image, paused=True)
    words = "bf disas 0x7c00 --bytes 10"
    result = gdb.run(f"bf attach {machine.name}", "tbreak *0x7c00", "continue", words, f"{words} --bits 32")
    assert "0x00007c00: 10 bytes at 0x00007c00, 32-bit code" in result.out
    assert "0x00007c00: 10 bytes at 0x00007c00, 16-bit code" in result.out
    assert re.search(r"00007c00 \+000  ea057c0000 +ljmp 0:0x7c05", result.out)
    assert re.search(r"00007c06 \+006  31c0 +xor ax, ax", result.out)


def test_what_is_not_there_is_one_sentence(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle_machine.name}", "bf disas nothing", "bf disas 0xb8000", "bf disas 0x10000 --tier O1"
    )
    errors = result.err.strip().splitlines()
    assert len(errors) == 3, errors
    assert "no function 'nothing' has JIT code; there are: fibonacci" in errors[0]
    assert "not inside the RAM" in errors[1] and "a tier belongs to a function's name" in errors[2]


def test_the_host_program_says_the_same_of_guest_core_and_gdb(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    live = bareflow("disas", "primes", "--json", idle_machine.name)
    core = tmp_path / "core.elf"
    assert bareflow("core", "--out", str(core), idle_machine.name).code == 0
    of_core = bareflow("disas", "primes", "--json", str(core))
    in_gdb = gdb.run(f"bf attach {idle_machine.name}", "bf disas primes --json")
    assert live.code == of_core.code == 0, of_core.err
    assert json.loads(live.out) == json.loads(of_core.out) == in_gdb.json()
