"""The disk is full: a file system of a few hundred KB, or the limit of a file's size (RLIMIT_FSIZE)."""

from __future__ import annotations

import random
import resource
import subprocess
from functools import cache
from pathlib import Path
from typing import ClassVar

from bareflow_gdb.tracing.store import Trace
from soak.fault import Fault
from soak.place import Program, Said, one_sentence
from soak.traces import FLOOD, checked, verified

Words = tuple[str | Path, ...]
SAMPLE = Path(__file__).resolve().parents[3] / "traces" / "swaps-10-20-30"
_SMALL = ("unshare", "--map-root-user", "--mount", "sh", "-c")
# A file system of its own, seen by this line only, whose files are copied out before it goes.
_ON_SMALL = 'mount -t tmpfs -o size="$1" soak "$2" && shift 1 && full=$1 out=$2 && shift 2 && { "$@"; code=$?; '
_ON_SMALL += 'cp -a "$full/." "$out"; exit $code; }'


@cache
def _can_mount() -> bool:
    """Not in every container, and not by every user."""
    try:
        done = subprocess.run([*_SMALL, "mount -t tmpfs soak /tmp"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


class _Full(Fault):
    def start(self, chance: random.Random, size: int, full: Path, words: Words) -> tuple[Program, Path]:
        """A line that writes into `full`, where there is room for `size` bytes; where it is to be found afterwards."""
        if _can_mount() and chance.random() < 0.5:
            out = self.place.new("copied")
            wrap = (*_SMALL, _ON_SMALL, "sh", str(size), str(full), str(out))
            return self.place.start(*words, wrap=wrap), out
        return self.place.start(*words, before=lambda: _limit(size)), full

    def told(self, program: Program) -> Said:
        """It ends, and says in one sentence that there was no room."""
        said = program.result()
        one_sentence(said)
        assert any(why in said.err for why in ("No space left on device", "File too large")), said.err
        return said


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


class FullUnderRecorder(_Full):
    name: ClassVar = "disk full: recorder"
    broken: ClassVar = "the disk gets full while a flood is recorded, or the trace's first files are written"
    holds: ClassVar = "one sentence with the next step; what was written is right; it is recovered where there is room"
    cheap: ClassVar = True
    weight: ClassVar = 6

    def once(self, chance: random.Random) -> str:
        machine = self.place.machine("registered", hold=1, scenario=FLOOD)
        full = self.place.new("full")
        size = int(chance.choice((64 << 10, 1 << 20, 24 << 20)) * chance.uniform(0.1, 1.0))
        words = "trace", "record", machine.name, "--out", full / "t", "--release"
        program, found = self.start(chance, size, full, words)
        said = self.told(program)
        trace = found / "t"
        if not (trace / "manifest.json").exists():
            assert "trace recover" not in said.err and not trace.exists(), said.err
            return "all: there was no room for a trace"
        assert "trace recover" in said.err, said.err
        account = checked(trace)
        assert account.missing == 0 and account.first == 0, account
        verified(self.place, trace, complete=False)
        recovered = self.place.ask("trace", "recover", trace)
        assert recovered.code == 0, recovered.text
        assert checked(trace) == account
        # Nobody is kept from recording it anew.
        with_room = self.place.new("trace") / "t"
        again = self.place.start("trace", "record", machine.name, "--out", with_room, "--seconds", "0.1").result()
        assert again.code == 0, again.text
        assert checked(with_room).missing == 0
        return "what came after the disk was full"


class FullUnderReport(_Full):
    name: ClassVar = "disk full: report"
    broken: ClassVar = "the disk gets full while a report is made, a trace is converted or packed"
    holds: ClassVar = "one sentence; there is no half of a file"
    cheap: ClassVar = True

    def once(self, chance: random.Random) -> str:
        full = self.place.new("full")
        kind = chance.choice(("report", "perfetto", "jsonl", "speedscope", "ctf", "pack"))
        lines: dict[str, Words] = {
            "report": ("report", SAMPLE, "--out", full / "made"),
            "pack": ("trace", "pack", SAMPLE, "--out", full / "made"),
        }
        words = lines.get(kind, ("trace", "convert", SAMPLE, "--to", kind, "--out", full / "made"))
        program, found = self.start(chance, chance.randint(512, 4096), full, words)
        self.told(program)
        left = sorted(path.name for path in found.rglob("*"))
        assert not left, f"{kind} left {left}"
        assert Trace.open(SAMPLE).count
        return "the file that was asked for"
