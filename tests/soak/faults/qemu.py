"""QEMU is killed while something of the suite works with its guest."""

from __future__ import annotations

import os
import pty
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from gdb_harness import GDBS, SCRIPT
from mi_gdb import MiError, MiGdb

from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.store import Trace
from soak.fault import Fault
from soak.place import BAREFLOW, ROOT, SECONDS, Said, cleaned_up, no_traceback, one_sentence, until
from soak.traces import FLOOD, checked, ring_word, verified

HOLDS = "one sentence; `list` names what is left and the command that removes all of it"


def kill(machine: Machine) -> None:
    """Ends QEMU, which cannot do anything about it."""
    os.kill(machine.pid, signal.SIGKILL)
    until(lambda: not machine.alive(), "QEMU's end")


class QemuUnderRecorder(Fault):
    name: ClassVar = "qemu killed: recorder"
    broken: ClassVar = "QEMU is killed while a flood is recorded"
    holds: ClassVar = "the trace is completed and has every event, up to the last that the guest wrote"

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine("registered", hold=1, scenario=FLOOD)
        # It stays readable when its file has gone.
        memory = QemuRam(machine.ram_path)
        out = self.place.new("trace") / "t"
        recorder = self.place.start("trace", "record", machine.name, "--out", out, "--release")
        until(lambda: (out / "journal-000.raw").exists() and ring_word(memory, "head") > 1000, "events")
        time.sleep(0.5 * chance.random())
        kill(machine)
        said = recorder.result()
        no_traceback(said)
        assert said.code == 0, said.text
        trace = Trace.open(out)
        assert trace.manifest.complete and trace.manifest.ended == "guest gone"
        account = checked(out)
        assert account.missing == 0 and account.first == 0, account
        assert account.next & 0xFFFFFFFF == ring_word(memory, "head"), account
        verified(self.place, out, complete=True)
        memory.close()
        cleaned_up(self.place, machine)
        return ""


class QemuUnderGdb(Fault):
    name: ClassVar = "qemu killed: gdb"
    broken: ClassVar = "QEMU is killed while gdb holds its guest, lets it run, or waits in a command"
    holds: ClassVar = f"gdb stays usable, and attaches to the next machine; {HOLDS}"

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine("registered", hold=1)
        with MiGdb(GDBS[chance.choice(list(GDBS))], script=SCRIPT) as gdb:
            gdb.run(f"bf attach {machine.name}")
            command = chance.choice(("", "continue", "bf step-swap", "bf watch primes", "bf recompile primes"))
            if command:
                gdb.start(command)
                time.sleep(0.3 * chance.random())
            kill(machine)
            if command:
                with suppress(MiError):
                    assert "Traceback" not in gdb.result(command)
            for question in chance.sample(("status", "jit", "pools", "swaps", "modules", "cpu", "doctor"), 2):
                try:
                    assert "Traceback" not in gdb.run(f"bf {question}")
                except MiError as error:
                    assert "\n" not in str(error).strip() and "defect" not in str(error), error
                assert gdb.run("echo alive") == "alive"
            cleaned_up(self.place, machine)
            other = self.place.machine("registered", hold=1)
            gdb.run(f"bf attach {other.name}")
            assert "registered" in gdb.run("bf status")
        return ""


class QemuUnderCommand(Fault):
    name: ClassVar = "qemu killed: command"
    broken: ClassVar = "QEMU is killed under serve, recompile, report, core, jit, checks, wait, doctor or diagnose"
    holds: ClassVar = f"it answers, or says why it cannot, and leaves no half of a file; {HOLDS}"
    cheap: ClassVar = True
    weight: ClassVar = 8

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine()
        out = self.place.new("out")
        lines = {
            "serve": ("serve", machine.name),
            "recompile": ("recompile", "primes", machine.name),
            "report": ("report", machine.name, "--out", out / "report.html"),
            "core": ("core", "--out", out / "core", machine.name),
            "jit": ("jit", machine.name),
            "checks": ("checks", machine.name),
            "wait": ("wait", machine.name, "halted"),
            "doctor": ("doctor", machine.name),
            "diagnose": ("diagnose", machine.name),
            "top": ("top", machine.name, "--once"),
        }
        program = self.place.start(*lines[chance.choice(list(lines))])
        time.sleep(chance.uniform(0.0, 1.5))
        kill(machine)
        said = program.result()
        no_traceback(said)
        if said.code == 2:
            one_sentence(said)
        assert said.code in (0, 1, 2), f"{said.code}: {said.text}"
        assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
        cleaned_up(self.place, machine)
        return "its answer" if said.code == 2 else ""


class QemuUnderTop(Fault):
    name: ClassVar = "qemu killed: top"
    broken: ClassVar = "QEMU is killed while `top` shows its guest on a terminal"
    holds: ClassVar = f"it ends and says so, the terminal is left as it was; {HOLDS}"

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine(scenario=0)
        said = _on_terminal(("top", machine.name, "--interval", "0.05"), lambda: self._kill(machine, chance))
        no_traceback(said)
        assert said.code in (0, 1, 2) and len(said.out.splitlines()[-1]) < 200, said.out
        assert "has ended" in said.out, said.out[-500:]
        # The alternate screen and the cursor are given back.
        assert said.out.count("\x1b[?1049h") == said.out.count("\x1b[?1049l"), said.out[-500:]
        cleaned_up(self.place, machine)
        return ""

    def _kill(self, machine: Machine, chance: random.Random) -> None:
        time.sleep(chance.uniform(0.5, 2.0))
        kill(machine)


def _on_terminal(words: tuple[str, ...], disturb: Callable[[], None]) -> Said:
    """What it wrote there and how it ended; `disturb` is called when it has written something."""
    line = (*BAREFLOW, *words)
    child, terminal = pty.fork()
    if not child:
        os.chdir(ROOT)
        os.execve(line[0], line, {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"})
    try:
        os.set_blocking(terminal, False)
        written = bytearray()
        until = time.monotonic() + SECONDS
        disturbed = False
        while time.monotonic() < until:
            try:
                written += os.read(terminal, 1 << 16)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
            if not disturbed:
                disturbed = True
                disturb()
        _, status = os.waitpid(child, 0)
        child = 0
        return Said(os.waitstatus_to_exitcode(status), written.decode("utf-8", "replace"), "")
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(terminal)
