"""A machine may be called like a file: its name is the machine, from the program and from gdb, wherever they run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_harness import Gdb
from machines import SECONDS

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

NAME = "tmp"


@pytest.fixture(scope="module")
def tmp(image: Path) -> Iterator[Machine]:
    """A machine that is called like a directory of every host."""
    machine = launch(image, name=NAME, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(machine, "idle", SECONDS)
    yield machine
    machine.stop()


@pytest.fixture(params=("root", "directory", "file"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A directory with something of that name in it."""
    if request.param == "root":
        return Path("/")
    (tmp_path / NAME).mkdir() if request.param == "directory" else (tmp_path / NAME).write_text("notes\n")
    return tmp_path


def bareflow(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bareflow_gdb.cli.main", *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=place, timeout=SECONDS)


def test_the_program_asks_the_machine_and_says_that_there_is_a_file(tmp: Machine, place: Path) -> None:
    done = bareflow(place, "status", tmp.name)
    assert done.returncode == 0, done.stderr
    assert "primes" in done.stdout
    assert f"./{NAME} is the file" in done.stderr


def test_a_path_is_the_file(tmp: Machine, place: Path) -> None:
    for path in (f"./{tmp.name}", str(place / tmp.name)):
        done = bareflow(place, "status", path)
        assert done.returncode == 2
        assert "is not a trace" in done.stderr or "is not recognised" in done.stderr


def test_gdb_recompiles_and_records_whatever_lies_around(gdb: Gdb, tmp: Machine, place: Path, tmp_path: Path) -> None:
    trace = tmp_path / f"trace-{gdb.path.parent.name}"
    result = gdb.run(
        f"bf attach {tmp.name}", "bf recompile primes --json", f"bf trace start {trace}", "bf trace stop", cwd=place
    )
    assert result.json()["state"] == "installed", result.err
    assert (trace / "manifest.json").is_file(), result.err
