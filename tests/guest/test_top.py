"""`bareflow top` beside a real guest that runs: what it shows changes, the guest goes on, a debugger may hold it."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from machines import Boot, wait_for

from bareflow_gdb.analysis.live import look
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.kernel import Kernel

SAMPLE = Path(__file__).parent.parent.parent / "traces" / "swaps-10-20-30"
Captured = pytest.CaptureFixture[str]


def now(capsys: Captured, name: str) -> Any:
    assert cli.main(["top", name, "--json", "--interval", "0.1"]) == 0
    return json.loads(capsys.readouterr().out)


class Screen:
    """`bareflow top` on a terminal, and all that it has written there."""

    def __init__(self, name: str) -> None:
        line = [sys.executable, "-m", "bareflow_gdb.cli.main", "top", name, "--interval", "0.05"]
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.execve(line[0], line, {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"})
        os.set_blocking(self.terminal, False)
        self.written = ""

    def shows(self, words: str) -> bool:
        with suppress(BlockingIOError, OSError):
            self.written += os.read(self.terminal, 1 << 16).decode(errors="replace")
        return words in self.written

    def end(self) -> int:
        os.kill(self.pid, signal.SIGINT)

        def ended() -> tuple[int, int] | None:
            # What it writes last has to be taken, or it waits.
            self.shows("")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            return (pid, status) if pid else None

        _, status = wait_for(ended, "the end of top")
        return os.waitstatus_to_exitcode(status)


def test_it_shows_a_guest_that_runs_and_one_that_is_held(booted: Boot, capsys: Captured) -> None:
    # With such a threshold the first function is called without end.
    machine = booted(stage="running", thresholds=(10, 20, 1 << 30))
    first = wait_for(
        lambda: (found := now(capsys, machine.name))["functions"][0]["calls"]["per_second"] and found, "calls"
    )
    function = first["functions"][0]
    assert (function["name"], function["next_threshold"]) == ("fibonacci", 1 << 30)
    later = wait_for(lambda: (found := now(capsys, machine.name))["functions"][0]["level"] == 2 and found, "O2")
    assert later["functions"][0]["calls"]["count"] > function["calls"]["count"] > 0
    assert [swap["to_level"] for swap in later["last_swaps"]] == [2, 1] and later["swaps"]["count"] == 2
    assert {pool["kind"]: pool["used"] > 0 for pool in later["pools"]} == dict.fromkeys(
        ("code", "data", "metadata"), True
    )
    assert later["findings"] == later["missing"] == [] and machine.status() == "running"
    screen = Screen(machine.name)
    wait_for(lambda: screen.shows("fibonacci"), "a first look")
    assert "stands still" not in screen.written
    machine.pause()
    wait_for(lambda: screen.shows("stands still: the machine is stopped (paused)"), "what a debugger does")
    assert screen.end() == 0 and screen.shows("runs on")
    machine.resume()
    assert cli.main(["top", machine.name]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text and "fibonacci" in text
    assert cli.main(["top", machine.name, "--interval", "nan"]) == 2


def test_what_cannot_be_read_is_missing_and_told() -> None:
    def kernel() -> Kernel:
        raise BadData("there is no kernel yet")

    found = look(Subject(kernel))
    assert found.missing == ("there is no kernel yet",) and found.functions == found.pools == ()


@pytest.mark.parametrize("target", ["/nowhere", str(SAMPLE)])
def test_only_a_running_machine_can_be_watched(target: str, capsys: Captured) -> None:
    assert cli.main(["top", target]) == 2
    assert capsys.readouterr().err.count("\n") == 1
