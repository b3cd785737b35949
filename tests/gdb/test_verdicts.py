"""What is status 1 in the shell is a failed command under `exit-on-error` in gdb: the same guest, the same verdict."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from gdb_harness import Gdb, bareflow

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]

# Questions that give a verdict, asked of a guest in which each of their answers is "no".
DAMAGED = (
    "status",
    "boot",
    "modules",
    "pools",
    "profile",
    "jit",
    "identify 0xf0000000",
    "header primes",
    "block 0x00200010",
    "exception",
)


@pytest.fixture(scope="module")
def damaged(idle_machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A core of the idle guest into whose tables something wrote."""
    core = tmp_path_factory.mktemp("damaged") / "core"
    idle_machine.dump_core(core)
    guest = Guest.attach(idle_machine.memory())
    root, kernel = guest.root(), guest.kernel()
    module = next(one for one in kernel.modules().modules if one.name == "primes")
    block = kernel.block(0x200010)
    jit_entries = root.adaptive_jit + layouts.offset("adaptive_jit", "functions")
    profiled = root.function_profiler + layouts.offset("function_profiler", "function_count")
    for address, value in (
        (root.boot_record + layouts.offset("bf_boot_record", "sectors_read"), 1),
        (module.image, 0),
        (block.header.address, 0),
        (root.pools + layouts.offset("memory_pool", "total_size"), 16),
        (profiled, 0xFFFF),
        (jit_entries + layouts.offset("jit_function_entry", "current_code"), 0x200010),
        (root.exception, layouts.const("BF_EXCEPTION_MAGIC")),
        (root.exception + layouts.offset("bf_exception", "count"), 1),
    ):
        put(core, address, value)
    return core


def put(core: Path, address: int, value: int) -> None:
    with core.open("r+b") as file:
        load = next(
            part
            for part in ELFFile(file).iter_segments()
            if part["p_type"] == "PT_LOAD" and part["p_paddr"] <= address < part["p_paddr"] + part["p_filesz"]
        )
        file.seek(load["p_offset"] + address - load["p_paddr"])
        file.write(struct.pack("<I", value))


def in_gdb(gdb: Gdb, question: str, *connect: str) -> int:
    return gdb.run("set bareflow exit-on-error on", *connect, f"bf {question}").code


@pytest.mark.parametrize("question", DAMAGED)
def test_an_answer_that_is_no_fails_in_gdb_as_in_the_shell(gdb: Gdb, damaged: Path, question: str) -> None:
    assert bareflow(*question.split(), str(damaged)).code == 1
    assert in_gdb(gdb, question, f"core-file {damaged}") == 1


def test_swaps_say_no_before_there_is_one(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    assert bareflow("swaps", machine.name).code == 1
    assert in_gdb(gdb, "swaps", f"bf attach {machine.name}") == 1


@pytest.mark.parametrize("question", ("status", "swaps", "pools code"))
def test_a_healthy_guest_is_fine_in_both(gdb: Gdb, idle_machine: Machine, question: str) -> None:
    assert bareflow(*question.split(), idle_machine.name).code == 0
    assert in_gdb(gdb, question, f"bf attach {idle_machine.name}") == 0
