"""The host's clock steps, as it does when it is set, or when a laptop wakes up.

In the program under test alone, by a library that is put before libc (wrong_clock.c): nobody else's clock is touched.
"""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from bareflow_gdb.tracing.store import Trace
from soak.fault import Fault
from soak.place import no_traceback, until
from soak.traces import FLOOD, checked, verified

STEPS = tuple(sign * seconds for sign in (-1, 1) for seconds in (60, 7200, 400 * 86400))
SOURCE = Path(__file__).with_name("wrong_clock.c")
CLANG = "clang-19"


class ClockSteps(Fault):
    name: ClassVar = "clock steps"
    broken: ClassVar = "the clock steps by a minute to 400 days, both ways, under a recorder, serve, recompile or list"
    holds: ClassVar = "what is timed takes as long as ever, ages and durations make sense, nothing ends by it"

    _library: Path | None = None

    def once(self, chance: random.Random) -> str:
        doing = chance.choice((self._record, self._serve, self._list, self._recompile))
        doing(chance)
        return ""

    def _clock(self) -> tuple[Path, dict[str, str]]:
        """A file that says by how many seconds the clock is wrong, and what makes a program believe it."""
        if self._library is None:
            self._library = self.place.new("library", self.kept) / "wrong_clock.so"
            subprocess.run([CLANG, "-O1", "-shared", "-fPIC", "-o", self._library, SOURCE], check=True)
        clock = self.place.new("clock") / "clock"
        clock.write_bytes(bytes(8))
        return clock, {"LD_PRELOAD": str(self._library), "WRONG_CLOCK": str(clock)}

    def _step(self, clock: Path, chance: random.Random) -> None:
        # Into the same file: it is mapped.
        with clock.open("r+b") as file:
            file.write(chance.choice(STEPS).to_bytes(8, "little", signed=True))

    def _record(self, chance: random.Random) -> None:
        machine = self.place.machine("registered", hold=1, scenario=FLOOD)
        clock, environment = self._clock()
        out = self.place.new("trace") / "t"
        began = time.monotonic()
        words = ("trace", "record", machine.name, "--out", out, "--release", "--seconds", "0.8")
        recorder = self.place.start(*words, **environment)
        until((out / "manifest.json").exists, "the manifest")
        for _ in range(3):
            time.sleep(0.2 * chance.random())
            self._step(clock, chance)
        said = recorder.result()
        no_traceback(said)
        assert said.code == 0, said.text
        account = checked(out)
        assert account.missing == 0 and account.first == 0, account
        manifest = Trace.open(out).manifest
        assert manifest.ended == "time" and 0.7 < manifest.seconds < time.monotonic() - began, manifest
        verified(self.place, out, complete=True)

    def _serve(self, chance: random.Random) -> None:
        machine = self.place.machine()
        clock, environment = self._clock()
        server = self.place.start("serve", machine.name, **environment)
        until(lambda: "Ctrl-C ends it" in server.said().err, "the service")
        for tier in ("O2", "O3"):
            self._step(clock, chance)
            said = self.place.start("recompile", "primes", machine.name, "--tier", tier).result()
            assert said.code == 0, said.text
        assert not server.ended, server.said()
        no_traceback(server.said())

    def _recompile(self, chance: random.Random) -> None:
        machine = self.place.machine()
        clock, environment = self._clock()
        cache = self.place.new("cache")
        program = self.place.start("recompile", "sum", machine.name, XDG_CACHE_HOME=str(cache), **environment)
        time.sleep(chance.random())
        self._step(clock, chance)
        said = program.result()
        no_traceback(said)
        assert said.code == 0, said.text

    def _list(self, chance: random.Random) -> None:
        machine = self.place.machine()
        clock, environment = self._clock()
        self._step(clock, chance)
        said = self.place.start("list", **environment).result()
        [line] = [line for line in said.out.splitlines() if line.startswith(f"{machine.name} ")]
        assert said.code == 0 and "stage idle" in line and " -" not in line, said.text
