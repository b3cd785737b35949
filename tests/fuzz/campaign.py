"""How are a million damaged inputs put to the readers on all processors? Hands out rounds, watches, sums up."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.corpus import folder as corpus_of
from fuzz.target import CONTROL, CRASH, LARGE, SLOW, Verdict, inputs_of
from fuzz.targets import ALL, TARGETS
from fuzz.worker import NOW_BYTES, keep

HANG_SECONDS = 60.0
"""Of the clock, for one input: far above SLOW_SECONDS, because the machine may be busy with other things."""
LOOK_SECONDS = 0.2
JOB_INPUTS = 200
GUIDED_INPUTS = 20_000
LEAST_GUIDED = 300
"""Of a target: with less the fuzzer comes no further than to its first damage."""
_EXCEPTION = re.compile(r"\w+(Error|Exception|Interrupt): ")
TESTS = Path(__file__).parents[1]
BAD = (CRASH, SLOW, LARGE, CONTROL)


@dataclass
class Tally:
    """What became of the inputs of one target."""

    name: str
    found: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    mb: float = 0.0
    edges: int = 0
    """Of the suite's code, reached; 0 = nobody counted."""
    corpus: int = 0
    """Choices that led to new ones."""

    @property
    def inputs(self) -> int:
        return inputs_of(self.found)

    @property
    def bad(self) -> int:
        return sum(self.found[word] for word in BAD)

    def add(self, answer: dict[str, Any]) -> None:
        self.found.update(answer["found"])
        self.seconds, self.mb = max(self.seconds, answer["seconds"]), max(self.mb, answer["mb"])
        self.edges, self.corpus = max(self.edges, answer.get("edges", 0)), answer.get("corpus", self.corpus)
        for kind, about in answer["kinds"].items():
            known = self.kinds.setdefault(kind, {"count": 0, "findings": about["findings"], "kept": ""})
            known["count"] += about["count"]
            known["kept"] = known["kept"] or about.get("kept", "")


@dataclass(frozen=True)
class Job:
    """What a worker does of one target."""

    target: str

    def line(self) -> bytes:
        return json.dumps(vars(self)).encode() + b"\n"


@dataclass(frozen=True)
class Rounds(Job):
    """Rounds of a target, each with a seed of its own."""

    first: int
    last: int
    seed: int


@dataclass(frozen=True)
class Known(Job):
    """Rounds that were kept, in hex."""

    choices: tuple[str, ...]


@dataclass(frozen=True)
class Guided(Job):
    """Inputs that lead to new code, as far as they do; `fuzz.guided` takes it."""

    inputs: int
    seed: int
    corpus: str


def planned(inputs: int, seed: int, names: Iterable[str]) -> Iterator[Job]:
    """Jobs for so many inputs in all, each target its share, all of them from the beginning on."""
    chosen = {name: TARGETS[name] for name in names}
    whole = sum(kind.share for kind in chosen.values())
    jobs = []
    for name, kind in chosen.items():
        rounds = max(1, round(inputs * kind.share / whole / kind.round))
        step = max(1, JOB_INPUTS // kind.round)
        for first in range(0, rounds, step):
            jobs.append((first / rounds, Rounds(name, first, min(first + step, rounds), seed)))
    return (job for _, job in sorted(jobs, key=lambda item: item[0]))


def guided(inputs: int, seed: int, names: Iterable[str], corpus: Path) -> Iterator[Job]:
    """The same for `fuzz.guided`, in jobs that are long enough to look through what was found before."""
    chosen = {name: TARGETS[name] for name in names}
    whole = sum(kind.share for kind in chosen.values())
    left = {name: max(LEAST_GUIDED, round(inputs * kind.share / whole)) for name, kind in chosen.items()}
    for number in itertools.count():
        for name in [name for name, count in left.items() if count > 0]:
            share = min(left[name], GUIDED_INPUTS)
            left[name] -= share
            yield Guided(name, share, seed + number, str(corpus_of(corpus, name)))
        if not any(count > 0 for count in left.values()):
            return


class _Child:
    """A worker, and what it does at the moment."""

    def __init__(self, seeds: Path, failures: Path, module: str, deadline: float | None) -> None:
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="bff-", dir=place))
        self.job: Job | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, str(seeds), str(self.folder), str(failures), str(deadline or math.inf)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / ".stderr").open("wb"),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS / "support"), *_also()])},
        )

    def give(self, job: Job) -> None:
        assert self.process.stdin is not None
        self.job = job
        self.process.stdin.write(job.line())
        self.process.stdin.flush()

    def now(self) -> tuple[float, str]:
        """Seconds since the present question was asked (0: none), and its words."""
        try:
            data = (self.folder / ".now").read_bytes()[:NOW_BYTES]
        except FileNotFoundError:
            return 0.0, ""
        began = int.from_bytes(data[:8], "little")
        return (time.monotonic_ns() - began) / 1e9 if began else 0.0, data[8:].rstrip(b"\0").decode("utf-8", "replace")

    def end(self) -> None:
        self.process.kill()
        with self.process:
            pass
        shutil.rmtree(self.folder, ignore_errors=True)


def run(
    jobs: Iterator[Job],
    seeds: Path,
    failures: Path,
    *,
    workers: int,
    deadline: float | None = None,
    module: str = "fuzz.worker",
    progress: Callable[[list[Tally]], None] = lambda _: None,
) -> list[Tally]:
    """Does the jobs, or those that are begun before `deadline`; the tallies by target."""
    tallies = {name: Tally(name) for name in ALL}
    children: list[_Child] = []

    def next_job() -> Job | None:
        return None if deadline is not None and time.monotonic() > deadline else next(jobs, None)

    def start(job: Job) -> None:
        child = _Child(seeds, failures, module, deadline)
        children.append(child)
        watch.register(child.process.stdout, selectors.EVENT_READ, child)  # type: ignore[arg-type] # a pipe
        child.give(job)

    def stop(child: _Child) -> None:
        watch.unregister(child.process.stdout)  # type: ignore[arg-type]
        children.remove(child)
        child.end()

    with selectors.DefaultSelector() as watch:
        try:
            for _ in range(workers):
                if job := next_job():
                    start(job)
            while children:
                for key, _ in watch.select(LOOK_SECONDS):
                    child = key.data
                    line = child.process.stdout.readline()
                    weary = True
                    if line:
                        answer = json.loads(line)
                        tallies[answer["target"]].add(answer)
                        if answer.get("more"):
                            continue
                        weary = answer["weary"]
                    else:
                        _died(child, tallies, failures)
                    job = next_job()
                    if job and not weary:
                        child.give(job)
                        continue
                    stop(child)
                    if job:
                        start(job)
                for child in [child for child in children if child.now()[0] > HANG_SECONDS]:
                    _hangs(child, tallies, failures)
                    stop(child)
                    if job := next_job():
                        start(job)
                progress([tally for tally in tallies.values() if tally.inputs])
        finally:
            for child in list(children):
                stop(child)
    return [tally for tally in tallies.values() if tally.inputs or tally.bad]


def _also() -> list[str]:
    """Where atheris is, which is not among the packages of the suite."""
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _died(child: _Child, tallies: dict[str, Tally], failures: Path) -> None:
    """The worker is gone, with the rest of its rounds: its last words, or the signal."""
    code = child.process.wait()
    said = (child.folder / ".stderr").read_text(errors="replace").strip().splitlines()
    # A fuzzer goes on talking after the exception.
    last = next((line for line in reversed(said) if _EXCEPTION.match(line)), said[-1] if said else "")
    _charge(child, tallies, failures, CRASH, f"process ended ({code}) {last}")


def _hangs(child: _Child, tallies: dict[str, Tally], failures: Path) -> None:
    _charge(child, tallies, failures, SLOW, f"no answer within {HANG_SECONDS:g} s")


def _charge(child: _Child, tallies: dict[str, Tally], failures: Path, finding: str, kind: str) -> None:
    assert child.job is not None
    seconds, words = child.now()
    name = child.job.target
    verdict = Verdict((finding,), kind, seconds, 0.0)
    kept = keep(failures, child.folder / name, name, words, verdict) if (child.folder / name).exists() else None
    about = {"count": 1, "findings": (finding,), "kept": str(kept or "")}
    tallies[name].add({"found": {finding: 1}, "kinds": {kind: about}, "seconds": seconds, "mb": 0.0})
