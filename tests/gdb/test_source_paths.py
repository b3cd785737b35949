"""Source lines of the kernel and of its JIT code, wherever gdb and the suite are; the user's directories come first."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from gdb_harness import KERNEL, ROOT, SCRIPT, Gdb

from bareflow_gdb.qemu.machine import Machine


@pytest.mark.parametrize("cwd", ("/", "firmware/kernel"))
def test_lines_are_found_wherever_gdb_was_started(gdb: Gdb, idle_machine: Machine, cwd: str) -> None:
    shown = gdb.run(
        f"bf attach {idle_machine.name}",
        "list kernel_main",
        "list firmware/kernel/start.asm:23",
        f"break {ROOT}/firmware/kernel/main.c:7",
        "bf recompile sum --stop",
        "list",
        elf=KERNEL,
        cwd=ROOT / cwd,
    ).out
    assert re.search(r"_Noreturn void kernel_main\(void\) \{", shown)
    assert re.search(r"^22\t_start:", shown, re.MULTILINE)
    assert re.search(r"Breakpoint 1 at 0x\w+: file firmware/kernel/main.c, line 7", shown)
    assert "int32_t sum_main(int32_t a, int32_t b)" in shown


def test_every_file_of_the_kernel_has_a_name_of_one_form(gdb: Gdb, idle_machine: Machine) -> None:
    shown = gdb.run(f"bf attach {idle_machine.name}", "backtrace", elf=KERNEL, cwd=Path("/")).out
    files = re.findall(r" at (\S+):\d+$", shown, re.MULTILINE)
    assert any(file.endswith(".asm") for file in files) and any(file.endswith(".c") for file in files)
    assert all((ROOT / file).is_file() for file in files), files


def test_directories_of_the_user_are_searched_first(gdb: Gdb, tmp_path: Path) -> None:
    own = tmp_path / "o w'n ü"
    (own / "firmware/kernel").mkdir(parents=True)
    (own / "firmware/kernel/main.c").write_text("the user's\n" * 100, encoding="utf-8")
    # gdb warns of a source that is newer than the kernel.
    os.utime(own / "firmware/kernel/main.c", (0, 0))
    for when in ("before", "after"):
        script = f"source {SCRIPT}"
        directory = f'directory "{own}"'
        order = (directory, script, script) if when == "before" else (script, directory)
        done = gdb.run(
            *order, "show directories", "list firmware/kernel/main.c:7", elf=KERNEL, cwd=tmp_path, suite=False
        )
        assert "the user's" in done.out, done.err
        assert done.out.count(f":{ROOT}\n") == 1 and f"{own}:$cdir:$cwd:" in done.out
        assert done.err == ""
