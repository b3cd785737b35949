"""The TUI layout `bareflow` in a real terminal (tmux), filled and following the guest from stop to stop."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


class Terminal:
    """gdb in a terminal of 160 columns and 50 rows."""

    def __init__(self, socket: Path, words: list[str]) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(socket)]
        command = shlex.join(["env", "TERM=screen", *words])
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        start = [*self._tmux, "-u", "new-session", "-d", "-x", "160", "-y", "50", command]
        subprocess.run(start, check=True, env=environment)

    def type(self, line: str) -> None:
        subprocess.run([*self._tmux, "send-keys", line, "Enter"], check=True)

    def press(self, *keys: str) -> None:
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def screen(self) -> str:
        return subprocess.run([*self._tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True).stdout

    def wait_for(self, *patterns: str, without: str = r"(?!)") -> str:
        """The first screen that shows all patterns, and nothing of `without`: gdb draws window by window."""

        def shown() -> str:
            screen = self.screen()
            there = all(re.search(pattern, screen) for pattern in patterns)
            return screen if there and not re.search(without, screen) else ""

        return wait_for(shown, f"{patterns} on the screen, without {without}")

    def end(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=True)


@pytest.fixture
def terminal(gdb: Gdb, tmp_path: Path) -> Iterator[Terminal]:
    words = [str(gdb.path), "-nx", "-q", "-x", str(SCRIPT), "-ex", "set pagination off", str(KERNEL)]
    shown = Terminal(tmp_path / "tmux", words)
    yield shown
    shown.end()


def test_the_layout_shows_the_guest_and_follows_each_stop(terminal: Terminal, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    terminal.wait_for(r"\(gdb\)")
    terminal.type(f"bf attach {machine.name}")
    terminal.wait_for("attached to")
    terminal.type("layout bareflow")
    titles = ("BareFlow swaps", "BareFlow profile", "JIT pools")
    terminal.wait_for(*titles, r"code +0x00200000 +262,144", without=r"fibonacci +O0 +O1")
    terminal.type("bf release")
    terminal.type("bf break-swap sum")
    terminal.type("continue")
    terminal.wait_for("sum: O0 → O1, call", *(rf"fibonacci +O{level} +O{level + 1}" for level in range(3)))
    terminal.type("continue")
    terminal.wait_for(r"sum +O0 +O1")


def test_without_a_guest_the_windows_say_so(terminal: Terminal) -> None:
    terminal.wait_for(r"\(gdb\)")
    terminal.type("layout bareflow")
    terminal.wait_for("gdb is not connected to a guest")
    terminal.type("bf refresh")
    terminal.wait_for("bf refresh: gdb is not connected")


def test_windows_scroll_are_read_when_asked_and_gone_when_closed(terminal: Terminal, booted: Boot) -> None:
    machine = booted(stage="idle")
    terminal.wait_for(r"\(gdb\)")
    terminal.type(f"bf attach {machine.name}")
    terminal.wait_for("attached to")
    terminal.type("layout bareflow")
    terminal.wait_for("code +0x00200000 +262,144")
    # What the host writes is at no stop, so nobody reads it unasked.
    root = Guest.attach(machine.memory()).root()
    machine.memory().write(root.pools + layouts.offset("memory_pool", "total_size"), bytes(4), "size of a pool")
    terminal.type("bf refresh")
    terminal.wait_for("3 windows read", r"code +0x00200000 +0 ", without="262,144")
    terminal.type("focus pools")
    terminal.press("Down", "Right", "Right", "Right")
    terminal.wait_for(r"\Wode +0x00200000", without="JIT pools")
    terminal.press("Up", "Up", "Left", "Left", "Left", "Left")
    terminal.wait_for(r"JIT pools(?s:.*)\Wcode +0x00200000")
    terminal.type("layout src")
    terminal.type("bf refresh")
    terminal.wait_for("no window of BareFlow is shown")


def test_ctrl_c_stops_the_guest_after_step_swap_and_names_the_code(terminal: Terminal, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1, run_calls=20_000)
    terminal.wait_for(r"\(gdb\)")
    terminal.type(f"bf attach {machine.name}")
    terminal.wait_for("attached to")
    terminal.type("bf release")
    terminal.type("bf step-swap primes --lines 1")
    terminal.wait_for("the guest goes on; Ctrl-C stops it", "Continuing")
    terminal.press("C-c")
    # Nearly all of the time it is in code of the JIT, though not for sure at the first stop.
    while not re.search(r"0x\w+ in \w+@O\d \(\)", terminal.wait_for(r"(?s)signal SIGINT.*\(gdb\)\s*\Z")):
        terminal.type("shell clear")
        terminal.type("continue")
        terminal.wait_for("Continuing", without="received signal")
        terminal.press("C-c")


def test_a_storm_of_ctrl_c_ends_the_command_and_nothing_else(terminal: Terminal, booted: Boot, tmp_path: Path) -> None:
    machine = booted(stage="registered", hold=1)
    terminal.type(f"bf attach {machine.name}")
    terminal.wait_for("attached to")
    commands = {
        "step-swap primes": "waiting for a swap of primes",
        "recompile primes": "compiling primes",
        f"trace start {shlex.quote(str(tmp_path / 'trace'))}": "trace start",
        "doctor": "bf doctor",
    }
    for number, (command, begun) in enumerate(commands.items(), start=1):
        terminal.type(f"bf {command}")
        terminal.wait_for(begun)
        terminal.press(*["C-c"] * 25)

        def answers(number: int = number) -> bool:
            # What is typed while the last of them is on its way is lost.
            terminal.type(f"print {number} + 40")
            return bool(re.search(rf"= {number + 40}\n", terminal.wait_for(rf"{number} \+ 40")))

        wait_for(answers, f"gdb to answer after bf {command}")
        assert "Traceback" not in terminal.screen() and "Python Exception" not in terminal.screen()
    terminal.type("bf status")
    terminal.wait_for("stage +registered")
    terminal.type("maintenance info breakpoints")
    terminal.wait_for("No breakpoints")
