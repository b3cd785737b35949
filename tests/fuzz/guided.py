"""The process in which a fuzzer looks for damage that leads to code which no input has reached yet.

    python -m fuzz.guided SEEDS FOLDER FAILURES DEADLINE        (started by fuzz.campaign, with atheris on its path)

One job comes as a JSON line on stdin; accounts of what came of its inputs go out as such lines, the last one without
"more". What atheris changes are the bytes that the target's chance is drawn from. Those that led somewhere new are kept
in the job's `corpus`, and are where the next job begins.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pkgutil
import re
import sys
import time
from pathlib import Path
from typing import Any

import atheris

import bareflow_gdb
from fuzz.choices import Choices

TOLD_INPUTS = 200
MOST_CHOICES = 256
"""Bytes. A damage of more draws the others from a generator."""
_EDGES = re.compile(rb"cov: (\d+)")


def main() -> None:
    seeds, folder, failures = map(Path, sys.argv[1:4])
    deadline = float(sys.argv[4])
    job = json.loads(sys.stdin.readline())
    corpus = Path(job["corpus"])
    corpus.mkdir(parents=True, exist_ok=True)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the fuzzer writes there, too
    with contextlib.redirect_stdout(io.StringIO()):
        with atheris.instrument_imports(include=["bareflow_gdb"]):
            _import_all()
            from fuzz.worker import Worker, bounded

        bounded()
        worker = Worker(seeds, folder, failures)
        done = 0

        def tell(**more: Any) -> None:
            nonlocal done
            done += worker.inputs
            print(json.dumps({**worker.account(job["target"]), **more}), file=answers, flush=True)

        def one(choices: bytes) -> None:
            worker.round(job["target"], Choices(choices))
            ended = done + worker.inputs >= job["inputs"] or time.monotonic() > deadline
            if ended or worker.inputs >= TOLD_INPUTS:
                kept = {"edges": _edges(folder), "corpus": sum(1 for _ in corpus.iterdir())}
                tell(**kept, **({"weary": True} if ended else {"more": True}))
            if ended:
                # There is no other way out of the fuzzer.
                os._exit(0)

        options = {
            "max_len": MOST_CHOICES,
            "len_control": 0,
            "seed": job["seed"],
            # What hangs or is large the campaign sees, as from any worker.
            "timeout": 3600,
            "rss_limit_mb": 0,
            "artifact_prefix": f"{folder}/",
        }
        atheris.Setup([sys.argv[0], str(corpus), *(f"-{name}={value}" for name, value in options.items())], one)
        atheris.Fuzz()


def _import_all() -> None:
    """All that runs outside gdb: once the fuzzer runs, nothing more can be counted."""
    for module in pkgutil.walk_packages(bareflow_gdb.__path__, "bareflow_gdb."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name != "_gdb":
                    raise


def _edges(folder: Path) -> int:
    """Of the suite's code, reached so far: the fuzzer says it on stderr only."""
    return max(map(int, _EDGES.findall((folder / ".stderr").read_bytes())), default=0)


if __name__ == "__main__":
    main()
