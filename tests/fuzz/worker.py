"""The process in which readers meet damaged inputs: one bad input costs one process, and no more.

    python -m fuzz.worker SEEDS FOLDER FAILURES        (started by fuzz.campaign)

Jobs come as JSON lines on stdin, what came of each goes out as one. What is being asked at the moment stands in
`FOLDER/.now`, so that the campaign sees what hangs or has killed this process.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import mmap
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from fuzz.choices import Choices
from fuzz.target import Target, Verdict, copy_tree, inputs_of, judge
from fuzz.targets import ALL

NOW_BYTES = 4096
MEMORY_BYTES = 6 << 30
WEARY_MB = 200
"""A process that was ever larger than it was at first by this much is replaced: it would hide later growth."""
KEPT = 3
"""Failing inputs that are kept of a kind."""


class Worker:
    """Runs rounds of any target, and keeps the account of them."""

    def __init__(self, seeds: Path, folder: Path, failures: Path) -> None:
        self._seeds, self._folder, self._failures = seeds, folder, failures
        self._targets: dict[str, Target] = {}
        now = folder / ".now"
        now.write_bytes(bytes(NOW_BYTES))
        with now.open("r+b") as file:
            self._now = mmap.mmap(file.fileno(), NOW_BYTES)
        self._begin()

    def run(self, job: dict[str, Any]) -> dict[str, Any]:
        """Rounds `first` to `last` of a target, each with its own seed, or those that `choices` stand for, in hex."""
        name = job["target"]
        if "choices" in job:
            chances: Iterable[Random] = (Choices(bytes.fromhex(one)) for one in job["choices"])
        else:
            chances = (Random(f"{job['seed']} {name} {number}") for number in range(job["first"], job["last"]))
        for chance in chances:
            self.round(name, chance)
        return self.account(name)

    def round(self, name: str, chance: Random) -> None:
        """One damage, and the questions about it."""
        target = self._target(name)
        for words in target.inputs(chance):
            self._tell(words)
            verdict = judge(target, target.folder, words)
            self._found.update(verdict.findings)
            self._seconds, self._mb = max(self._seconds, verdict.seconds), max(self._mb, verdict.mb)
            if verdict.bad:
                kept = self._kinds.setdefault(verdict.kind, {"count": 0, "findings": verdict.findings})
                kept["count"] += 1
                if kept["count"] == 1:
                    kept["kept"] = str(keep(self._failures, target.folder, name, words, verdict) or "")
        self._tell("")

    @property
    def inputs(self) -> int:
        """Of which there is no account yet."""
        return inputs_of(self._found)

    def account(self, name: str) -> dict[str, Any]:
        """What came of the rounds since the last one."""
        answer = {
            "target": name,
            "found": self._found,
            "kinds": self._kinds,
            "seconds": self._seconds,
            "mb": self._mb,
            "weary": self._mb > WEARY_MB,
        }
        self._begin()
        return answer

    def _begin(self) -> None:
        self._found: Counter[str] = Counter()
        self._kinds: dict[str, dict[str, Any]] = {}
        self._seconds = self._mb = 0.0

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            folder = self._folder / name
            folder.mkdir()
            self._targets[name] = ALL[name](self._seeds, folder)
        return self._targets[name]

    def _tell(self, words: str) -> None:
        """When the question began, and its words; the time last, so that a reader sees both or none."""
        text = words.encode()[: NOW_BYTES - 16]
        self._now[8:] = text.ljust(NOW_BYTES - 8, b"\0")
        self._now[:8] = time.monotonic_ns().to_bytes(8, "little") if words else bytes(8)


def keep(failures: Path, folder: Path, name: str, words: str, verdict: Verdict) -> Path | None:
    """Copies a failing input; None when there are enough of its kind."""
    label = "".join(c if c.isalnum() else "-" for c in f"{name} {verdict.kind}")[:80].strip("-")
    for number in range(KEPT):
        kept = failures / f"{label}-{number}"
        try:
            kept.mkdir(parents=True)
        except FileExistsError:
            continue
        copy_tree(folder, kept / "input")
        about = {"target": name, "words": words, "findings": verdict.findings, "kind": verdict.kind}
        (kept / "case.json").write_text(json.dumps(about, indent=1) + "\n")
        (kept / "command").write_text(f"make fuzz REPLAY={kept}\n")
        return kept
    return None


def bounded() -> None:
    """Sets this process's limits."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    seeds, folder, failures = map(Path, sys.argv[1:4])
    bounded()
    answers = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(io.StringIO()):
        worker = Worker(seeds, folder, failures)
        for line in sys.stdin:
            answer = worker.run(json.loads(line))
            gc.collect()
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
