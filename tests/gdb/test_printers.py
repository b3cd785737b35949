"""gdb prints the contract's records short, readable, and safe from what a damaged guest holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_harness import KERNEL, Gdb
from machines import SECONDS

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

ABI = Path(__file__).parents[2] / "bareflow_gdb" / "abi"


@pytest.fixture(scope="module")
def damaged(image: Path) -> Iterator[Machine]:
    """A machine whose first function and module count were written over."""
    machine = launch(image, settings=RootSettings(hold=1))
    wait_for_stage(machine, "registered", SECONDS)
    memory = machine.memory()
    root = Guest.attach(memory).root()
    memory.write(root.function_table, b"\x1b[31mred\x07\xff".ljust(32, b"A"), "function name")
    memory.write(root.module_manager + 1344, b"\xff\xff\xff\xff", "number of modules")
    yield machine
    machine.stop()


def test_records_are_one_line_with_words_for_numbers(gdb: Gdb, idle_machine: Machine) -> None:
    guest = Guest.attach(idle_machine.memory())
    root = guest.root()
    version = guest.kernel().versions()[0]
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        f"p *(struct bf_version *) {root.version_table}",
        f"p *(struct bf_function *) {root.function_table}",
        "p bareflow_root",
        'p *$bf_pool("CODE")',
        f"p/r *(struct bf_version *) {root.version_table}",
        elf=KERNEL,
    )
    assert re.search(rf"\$1 = bf_version = \{{number = {version.number}, .*state = {version.state}, ", result.out)
    assert f"code = 0x{version.code:08x}" in result.out and "reason = initial" in result.out
    assert re.search(r'\$2 = bf_function = \{name = "fibonacci", .*provider = \w+, slot = 0x', result.out)
    assert "$3 = bf_root = {magic = {0x65726142, 0x776f6c46, 0x6f6f7220, 0x1a0a0d74}" in result.out
    assert "thresholds = {10, 20, 30}" in result.out and "reserved" not in result.out.split("$5")[0]
    assert re.search(r"\$4 = memory_pool = \{base = 0x00200000, total_size = 262144", result.out)
    assert re.search(r"\$5 = \{number = ", result.out), "print/r is gdb's own way"


def test_every_record_of_the_contract_has_a_printer(gdb: Gdb) -> None:
    tags = sorted({tag for header in ABI.glob("*.h") for tag in re.findall(r"struct (\w+) \{", header.read_text())})
    result = gdb.run(
        "python from bareflow_gdb.gdb_ui.printers import record_name",
        f"python tags = {tags!r}",
        "python known = []",
        "python\nfor tag in tags:\n  try: kind = gdb.lookup_type('struct ' + tag)\n  except gdb.error: continue\n"
        "  known.append(record_name(kind) == tag)",
        "python print('ALL', all(known), len(known) > 20)",
        elf=KERNEL,
    )
    assert "ALL True True" in result.out, result.err


def test_a_damaged_record_cannot_harm_the_terminal_or_the_time(gdb: Gdb, damaged: Machine) -> None:
    result = gdb.run(
        f"bf attach {damaged.name}",
        "set print elements 100000",
        f"p *(struct bf_function *) {Guest.attach(damaged.memory()).root().function_table}",
        f"p *(module_manager_t *) {Guest.attach(damaged.memory()).root().module_manager}",
        elf=KERNEL,
    )
    assert 'name = "?[31mred??AAAA' in result.out
    assert "\x1b" not in result.out and "\x07" not in result.out
    assert result.out.count("modules[") == 16
    assert " more" not in result.out, "an array has no more than its capacity"


def test_long_arrays_and_texts_are_cut_and_say_so(gdb: Gdb, damaged: Machine) -> None:
    # At code, where every field and every count is something.
    result = gdb.run(
        f"bf attach {damaged.name}",
        "p *(function_profiler_t *) 0x12000",
        "p *(fat16_fs_t *) 0x12000",
        "p *(struct bf_boot_record *) 0x12000",
        elf=KERNEL,
    )
    # The bytes there may hold any character, a dollar sign too.
    profiler, volume, boot = re.split(r"^\$\d+ = ", result.out, flags=re.MULTILINE)[1:]
    assert profiler.count("functions[") == 16 and "functions = … 112 more" in profiler
    (sector,) = re.findall(r"sector_buffer = (\w+)", volume)
    assert len(sector) == 2 * 64
    assert boot.count("stage_tsc = {") == 1


def test_other_structs_are_printed_as_ever(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        "p sizeof(struct interrupt_frame)",
        "p *(struct embedded_module *) 0x12000",
        elf=KERNEL,
    )
    assert "Traceback" not in result.err
    assert re.search(r"^\$2 = \{name = 0x", result.out, re.MULTILINE), result.out
