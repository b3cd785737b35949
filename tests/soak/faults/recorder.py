"""The recorder is killed, or stands still, while a guest floods it with events."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import ClassVar

from bareflow_gdb.abi import layouts
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.store import Trace
from soak.fault import Fault
from soak.place import no_traceback, until
from soak.traces import FLOOD, IN_HAND, batch_at_most, checked, completed, ring_word, verified

NOT_BEGUN = "all: it was killed before the trace had begun"
RING = layouts.const("BF_RING0_CAPACITY")
MOST_SECONDS = 0.8
"""That it records. A second is some millions of events."""


class RecorderKilled(Fault):
    name: ClassVar = "recorder killed"
    broken: ClassVar = "`trace record` of a flood is killed, within its first second and later"
    holds: ClassVar = "every completed batch is there, from the first event on, as the guest wrote it; another records"
    cheap: ClassVar = True
    weight: ClassVar = 12

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine("registered", hold=1, scenario=FLOOD)
        out = self.place.new("trace") / "t"
        recorder = self.place.start("trace", "record", machine.name, "--out", out, "--release")
        kind = chance.random()
        if kind < 0.15:
            time.sleep(chance.uniform(0.0, 1.0))
        elif kind < 0.4:
            until((out / "manifest.json").exists, "the manifest")
            time.sleep(0.1 * chance.random())
        else:
            until(lambda: any(path.stat().st_size for path in out.glob("journal-*")), "the first batch")
            time.sleep(chance.choice((0.1, MOST_SECONDS)) * chance.random())
        recorder.kill()
        lost = self._left(machine, out)
        self._goes_on(machine)
        return lost

    def _left(self, machine: Machine, out: Path) -> str:
        memory = machine.memory()
        taken = ring_word(memory, "tail") + 1 & 0xFFFFFFFF
        if not (out / "manifest.json").exists():
            assert taken <= 1, f"{taken:,} events were taken before there was a trace"
            assert self.place.ask("trace", "info", out).code == 2
            return NOT_BEGUN
        count = Trace.open(out).count
        batch_at_most(count - completed(out))
        account = checked(out)
        assert account.missing == 0 and account.first == 0, account
        batch_at_most(taken - account.next)
        verified(self.place, out, complete=False)
        recovered = self.place.ask("trace", "recover", out)
        assert recovered.code == 0, recovered.text
        assert checked(out) == account and Trace.open(out).count == count
        assert not list(out.glob("journal-*")) and not list(out.glob(".*")), sorted(path.name for path in out.iterdir())
        verified(self.place, out, complete=False)
        return IN_HAND if taken > account.next else ""

    def _goes_on(self, machine: Machine) -> None:
        """The guest waits for no dead reader, and the next one is let in."""
        out = self.place.new("trace") / "next"
        with Recorder(machine, out) as recorder:
            recorder.release_hold()
            memory = machine.memory()
            before = ring_word(memory, "head")
            until(lambda: recorder.drain() and ring_word(memory, "head") != before, "the guest to write on")
        account = checked(out)
        assert account.count and account.missing == 0, account
        verified(self.place, out, complete=True)


class SlowReader(Fault):
    name: ClassVar = "slow reader"
    broken: ClassVar = "`trace record` of a flood stands still for up to a second (SIGSTOP), several times"
    holds: ClassVar = "the guest waits for it a moment and then goes on; each event that is missing is counted"
    weight: ClassVar = 6

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine("registered", hold=1, scenario=FLOOD)
        memory = machine.memory()
        out = self.place.new("trace") / "t"
        flight = chance.random() < 0.3
        words = ["--flight"] if flight else []
        recorder = self.place.start("trace", "record", machine.name, "--out", out, "--release", *words)
        until(lambda: (out / "journal-000.raw").exists() and ring_word(memory, "head") > 1000, "events")
        for _ in range(chance.randint(1, 3)):
            time.sleep(0.3 * chance.random())
            recorder.send(signal.SIGSTOP)
            before = ring_word(memory, "head")
            pause = chance.choice((0.03, 0.2, 1.0)) * chance.random()
            time.sleep(pause)
            if pause > 0.5:
                # No reader for so long is a dead one.
                self._goes_on(memory, before)
            recorder.send(signal.SIGCONT)
        recorder.send(signal.SIGINT)
        said = recorder.result()
        no_traceback(said)
        account = checked(out)
        trace = Trace.open(out)
        assert trace.manifest.complete and trace.missing == 0
        counted = sum(source.lost for source in trace.manifest.sources if source.ring == 0)
        # What it lost after the last event that it has lies behind it.
        assert account.missing <= counted <= account.missing + 2 * RING, (account, counted)
        assert sum(loss.count for loss in trace.losses() if loss.ring == 0) == account.missing
        assert flight or account.first == 0, account
        assert said.code == (1 if counted else 0), said.text
        verified(self.place, out, complete=True)
        return "events, each counted" if counted else ""

    def _goes_on(self, memory: Memory, before: int) -> None:
        until(lambda: ring_word(memory, "head") - before & 0xFFFFFFFF > 2 * RING, "the guest to go on")
