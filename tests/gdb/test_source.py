"""Source-level debugging of code that the host compiled while the guest ran, at every level."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb, bareflow
from machines import SECONDS
from mi_gdb import MiError, MiGdb

from bareflow_gdb.gdb_ui.debug_object import Described, join
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


@pytest.fixture(scope="module")
def machine(image: Path) -> Iterator[Machine]:
    """One machine for the levels, one after the other: each test compiles its own code."""
    shared = launch(image, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(shared, "idle", SECONDS)
    yield shared
    shared.stop()


@pytest.mark.parametrize("level", (0, 1, 2, 3))
def test_lines_locals_and_results_inside_the_new_code(gdb: Gdb, machine: Machine, level: int) -> None:
    result = gdb.run(
        f"bf attach {machine.name}",
        f"bf recompile primes --level {level} --stop",
        "echo ==list\\n",
        "list",
        "echo ==line\\n",
        "tbreak primes.c:27",
        "info args",
        "continue",
        "until",
        "echo ==locals\\n",
        "info locals",
        "echo ==finish\\n",
        "finish",
        elf=KERNEL,
    )
    out = result.out
    listed = out.split("==list\n")[1].split("==line")[0]
    assert "primes_main(int32_t a, int32_t b)" in listed, out + result.err
    assert re.search(r"Temporary breakpoint \d+, primes_main \(a=1000, b=0\) at firmware/modules/primes\.c:2\d", out)
    assert "a = 1000" in out and "b = 0" in out
    assert re.search(r"^(count|from|end) = \d+", out.split("==locals\n")[1].split("==finish")[0], re.MULTILINE)
    assert re.search(r"Value returned is \$1 = 168", out.split("==finish\n")[1])
    number = re.search(r"primes@O\d #(\d+) installed", out)
    assert number is not None
    version = next(v for v in Guest.attach(machine.memory()).kernel().versions() if v.number == int(number[1]))
    assert (version.function_name, version.level) == ("primes", level)


def test_a_breakpoint_by_line_moves_to_the_next_version(gdb: Gdb, machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT, elf=KERNEL) as session:
        session.run(f"bf attach {machine.name}")
        session.run("bf recompile sum --level 1")
        session.run("break sum_main")
        first = re.search(r"0x(\w{8})", session.run("info breakpoints"))
        with contextlib.suppress(MiError):
            session.run("bf recompile sum --level 2")
        session.run("bf jitsym")
        second = re.search(r"0x(\w{8})", session.run("info breakpoints"))
        versions = {v.number: v for v in Guest.attach(machine.memory()).kernel().versions()}
        published = next(v for v in versions.values() if v.function_name == "sum" and v.state == "published")
        assert first is not None and second is not None
        assert not published.holds(int(first[1], 16)) and published.holds(int(second[1], 16))
        session.run("delete")
        session.run("detach")


def test_what_the_daemon_compiled_is_attached_on_request(gdb: Gdb, machine: Machine) -> None:
    assert bareflow("recompile", "fibonacci", "--level", "2", machine.name).code == 0
    result = gdb.run(f"bf attach {machine.name}", "bf jitsym", "info scope fibonacci_main", elf=KERNEL)
    assert re.search(r"^fibonacci@O2 +#\d+ .*v\d+\.elf$", result.out, re.MULTILINE)
    assert re.search(r"Symbol a is a variable", result.out)


def test_detaching_leaves_no_symbol_and_no_file(gdb: Gdb, machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {machine.name}",
        "bf jitsym",
        "python path = next(o.filename for o in gdb.objfiles() if '/jit-' in o.filename)",
        "bf jitsym --detach",
        "python import os; print('LEFT', os.path.exists(os.path.dirname(path)))",
        'info symbol $bf_func("primes")',
    )
    assert "nothing is attached" in result.out and "LEFT False" in result.out
    assert "No symbol matches" in result.out


def test_the_end_of_gdb_leaves_no_file(gdb: Gdb, machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {machine.name}",
        "bf jitsym",
        "python print('FILE', next(o.filename for o in gdb.objfiles() if '/jit-' in o.filename))",
    )
    file = re.search(r"^FILE (.+)$", result.out, re.MULTILINE)
    assert file is not None and not Path(file[1]).parent.exists()


def test_what_the_user_has_removed_or_damaged_is_not_in_the_way(gdb: Gdb, machine: Machine) -> None:
    found = "next(o.filename for o in gdb.objfiles() if '/jit-' in o.filename)"
    remove = f"python gdb.execute('remove-symbol-file \"%s\"' % {found})"
    result = gdb.run(
        f"bf attach {machine.name}",
        *("bf jitsym", remove, "bf jitsym", 'info symbol $bf_func("primes")'),
        *(remove, "bf jitsym --detach"),
    )
    assert re.search(r"^primes(@O\d|_main) in section", result.out, re.MULTILINE)
    assert "nothing is attached" in result.out and "No symbol file found" not in result.err
    index = machine.directory / "jit" / "index.json"
    index.parent.mkdir(exist_ok=True)
    before = index.read_bytes() if index.exists() else b"[]"
    index.write_text("{}{")
    damaged = gdb.run(f"bf attach {machine.name}", "bf jitsym")
    index.write_bytes(before)
    assert "index.json is damaged" in damaged.err and "Traceback" not in damaged.err


def test_one_object_names_hundreds_of_versions(gdb: Gdb, tmp_path: Path, firmware: Path) -> None:
    data = (firmware / "modules" / "primes.O2.o").read_bytes()
    bases = [0x200000 + number * 0x200 for number in range(256)]
    path = tmp_path / "many.elf"
    path.write_bytes(join([Described(f"v{b:x}", (f"primes@{b:x}",), b, 0x123, b, data, {".text": b}) for b in bases]))
    result = gdb.run(f"add-symbol-file {path}", "info line *0x210005", "info symbol 0x21fe01")
    assert "primes.c" in result.out and "section .text.v21fe00" in result.out
