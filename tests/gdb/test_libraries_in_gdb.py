"""Other tools' libraries on PYTHONPATH: the suite takes its own; without them it says in one sentence what is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gdb_harness import KERNEL, ROOT, SCRIPT, Gdb
from machines import SECONDS

from bareflow_gdb.qemu.machine import Machine

NAMES = ("capstone", "dissect", "elftools", "rich", "qemu", "numpy", "pyarrow", "duckdb", "llvmlite", "argcomplete")
OLD = "__version__ = '4.0.2'\nclass Cs: pass\nclass cstruct:\n    def __init__(self, **_): pass\n"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Packages of the names of the suite's own, that raise in their import."""
    folder = tmp_path / "foreign"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('not this one')\n", encoding="utf-8")
    return folder


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(folder), **environment},
    )


def test_pythonpath_changes_nothing_inside_gdb(gdb: Gdb, idle_machine: Machine, foreign: Path) -> None:
    asked = ("bf status", "bf disas primes", "bf recompile sum", "bf doctor", "bf pools --json")
    done = run(gdb.command(f"bf attach {idle_machine.name}", *asked, elf=KERNEL), foreign)
    assert done.stderr.count("\n") == done.stderr.count("warning"), done.stderr
    assert "Status" in done.stdout and "sum@" in done.stdout and "Doctor: nothing fails" in done.stdout


def test_pythonpath_changes_nothing_in_the_program(idle_machine: Machine, foreign: Path) -> None:
    program = str(Path(sys.executable).parent / "bareflow")
    for words in ("status", "disas primes", "recompile sum", "events --last 3", "doctor"):
        done = run([program, *words.split(), idle_machine.name], foreign)
        assert done.returncode == 0, (words, done.stderr)


def test_packages_of_other_scripts_stay_theirs(gdb: Gdb, foreign: Path) -> None:
    (foreign / "other").mkdir()
    (foreign / "other" / "__init__.py").touch()
    where = "python import other, numpy"
    done = run(gdb.command(where), foreign)
    assert "not this one" in done.stderr, "numpy is not what the suite imports into gdb"


@pytest.mark.parametrize(
    ("text", "reason"),
    (
        ("raise RuntimeError('not this one')", "cannot be used (RuntimeError: not this one)"),
        (OLD, "is too old, the suite needs"),
    ),
)
def test_without_its_own_a_wrong_library_is_one_sentence(
    gdb: Gdb, idle_machine: Machine, tmp_path: Path, text: str, reason: str
) -> None:
    for name in ("bareflow_gdb", "gdb_scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    only = tmp_path / "only"
    for name, version in (("capstone", "4.0.2"), ("dissect/cstruct", "3.14")):
        (only / name).mkdir(parents=True)
        (only / name / "__init__.py").write_text(text, encoding="utf-8")
        (only / f"{name.replace('/', '.')}-{version}.dist-info").mkdir()
    # A gdb that is started outside of any environment, and has none beside it.
    hidden = "python import sys; sys.path[:] = [p for p in sys.path if '-packages' not in p]"
    words = [str(gdb.path), "-nx", "-batch", "-ex", hidden, "-x", str(tmp_path / SCRIPT.relative_to(ROOT))]
    for command in (f"target remote {idle_machine.gdb_socket}", "bf status", "bf disas 0x10020", "bf doctor"):
        words += ["-ex", command]
    done = run(words, only, VIRTUAL_ENV="")
    told = [line for line in done.stderr.splitlines() if line.startswith("bf ")]
    assert told and reason in told[0] and "`make setup`" in told[0], done.stderr
    assert "Traceback" not in done.stderr and "Python Exception" not in done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(("  capstone", "  dissect.cstruct"))]
    assert len(rows) == 2 and all(" fails " in row for row in rows), done.stdout
