"""Every command that the suite prints to be pasted works, whatever the directory is called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest
from gdb_harness import Gdb
from machines import SECONDS

from bareflow_gdb.qemu.launch import launch

AWKWARD = "s p (ü) \"q' $x;-"
PRINTED = re.compile(
    r"^  (?:ask it|stop) +(bareflow .*)$|; read it with `(babeltrace2 .*)`, or Trace|or `(target remote .*)` in", re.M
)


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines are in such a directory too; a short one, for the sake of their sockets."""
    folder = mkdtemp(prefix=AWKWARD, dir=os.environ["XDG_RUNTIME_DIR"])
    monkeypatch.setenv("XDG_RUNTIME_DIR", folder)


def run(words: str | list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    options = {"capture_output": True, "encoding": "utf-8", "timeout": SECONDS, "env": environment}
    return subprocess.run(words if isinstance(words, list) else ["sh", "-c", words], **options)


def suggested(text: str) -> str:
    """The one command in it."""
    (found,) = ["".join(groups) for groups in PRINTED.findall(text)]
    return found


def test_a_core_a_trace_and_its_export_are_asked_as_told(
    image: Path, gdb: Gdb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / AWKWARD
    folder.mkdir()
    monkeypatch.chdir(folder)
    machine = launch(image)
    try:
        for out in ("-core", str(folder / "core")):
            told = run(["bareflow", "core", f"--out={out}", machine.name]).stdout
            assert run(suggested(told)).stdout.startswith("Status")
        told = gdb.run(f"bf attach {machine.name}", "bf trace start", "bf trace stop", cwd=folder).out
        assert run(suggested(told)).stdout.startswith("Swaps")
        told = run(["bareflow", "trace", "ctf", f"trace-{machine.name}", "--out", "c t:f"]).stdout
        assert "publish" in run(suggested(told)).stdout
        attached = gdb.run(f"target remote {machine.gdb_socket}", "bf status", "detach")
        assert "Status" in attached.out
    finally:
        machine.stop()


def test_a_new_machine_is_reached_and_ended_as_told(gdb: Gdb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = run(["bareflow", "run"]).stdout
    attach, stop = ("".join(groups) for groups in PRINTED.findall(told))
    try:
        assert "Status" in gdb.run(attach, "bf status", "detach").out
    finally:
        done = run(stop)
    assert done.returncode == 0, done.stderr
