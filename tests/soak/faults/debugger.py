"""gdb is killed, or comes and goes a thousand times."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import ClassVar

from gdb_harness import GDBS, SCRIPT
from mi_gdb import MiGdb

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.machine import Machine
from soak.fault import Fault
from soak.place import until


class GdbKilled(Fault):
    name: ClassVar = "gdb killed"
    broken: ClassVar = "gdb is killed while it holds the guest, in the midst of a command, or while breakpoints wait"
    holds: ClassVar = "the next gdb attaches at once, sets and deletes its own, and lets the guest go to its end"
    cheap: ClassVar = True
    weight: ClassVar = 8

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine("registered", hold=1)
        first, second = chance.choice(list(GDBS)), chance.choice(list(GDBS))
        with MiGdb(GDBS[first], script=SCRIPT) as gdb:
            gdb.run(f"bf attach {machine.name}")
            gdb.run("bf release")
            gdb.run(chance.choice(("bf break-swap", "bf watch primes", "bf break jit:primes@O1", "tbreak *0x10004")))
            gdb.start(chance.choice(("continue", "bf step-swap", "bf step-swap --stay", "stepi 100", "bf status")))
            time.sleep(0.5 * chance.random())
            gdb.kill()
        with MiGdb(GDBS[second], script=SCRIPT) as gdb:
            gdb.run(f"bf attach {machine.name}")
            assert "Traceback" not in gdb.run("bf status")
            gdb.run("hbreak *0x10004")
            gdb.run("delete")
            gdb.run("detach")
            self._runs_to_its_end(machine)
        return ""

    def _runs_to_its_end(self, machine: Machine) -> None:
        wait_for_stage(machine, "idle", 60.0)
        assert machine.status() == "running"


class AttachAndDetach(Fault):
    name: ClassVar = "attach and detach"
    broken: ClassVar = "one gdb attaches, asks and detaches, ten times a round, the same gdb in all rounds"
    holds: ClassVar = "no more file descriptors and breakpoints than after the first round, memory within bounds"
    weight: ClassVar = 6

    CYCLES: ClassVar = 10
    MOST_KB: ClassVar = 40
    """That a cycle may add to gdb's memory, on the average of all."""
    SETTLED_KB: ClassVar = 16 << 10
    """What Python's and gdb's own caches may take beyond the first round."""

    MORE_FILES: ClassVar = 2
    """That it has open for a moment."""

    _gdb: MiGdb | None = None
    _machine: Machine | None = None
    _first: tuple[int, int] = (0, 0)
    _cycles = 0

    def once(self, chance: random.Random) -> str:
        if self._gdb is None or self._machine is None:
            self._machine = self.place.machine(kept=self.kept)
            self._gdb = self.kept.enter_context(MiGdb(GDBS[chance.choice(list(GDBS))], script=SCRIPT))
            self._cycle(self._gdb, self._machine, chance)
        gdb, machine = self._gdb, self._machine
        for _ in range(self.CYCLES):
            self._cycle(gdb, machine, chance)
        handles, memory = self._size(gdb.pid)
        # What went with the connection is removed at gdb's next prompt, which MI has none of, or before a command.
        gdb.run("bf doctor --json")
        listed = gdb.run("maint info breakpoints")
        assert "No breakpoints" in listed, listed
        if not self._cycles:
            self._first = handles, memory
        self._cycles += self.CYCLES
        assert handles <= self._first[0] + self.MORE_FILES, f"{handles} files open, {self._first[0]} before"
        grown = memory - self._first[1]
        assert grown <= self.SETTLED_KB + self.MOST_KB * self._cycles, f"{grown} KB more after {self._cycles} cycles"
        until(lambda: machine.status() == "running", "the guest to run")
        assert Path(f"/proc/{machine.pid}/fd").exists()
        return ""

    def _cycle(self, gdb: MiGdb, machine: Machine, chance: random.Random) -> None:
        gdb.run(f"bf attach {machine.name}")
        for command in ("bf status", "bf break-swap", "bf watch primes"):
            gdb.run(command)
        gdb.run(chance.choice(("bf jit", "bf pools", "stepi")))
        gdb.run("detach")

    def _size(self, pid: int) -> tuple[int, int]:
        """File descriptors, and kilobytes of memory that are its own."""
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        memory = sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Swap:")))
        return len(list(Path(f"/proc/{pid}/fd").iterdir())), memory
