"""What is a reader under fuzz, and how is one damaged input judged?"""

from __future__ import annotations

import os
import re
import shutil
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar

from bareflow_gdb.errors import BareflowError

SLOW_SECONDS = 5.0
LARGE_MB = 500
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What a terminal would obey: all control characters but tab and newline, and those that turn the writing."""

ANSWERED, REFUSED, CRASH, SLOW, LARGE, CONTROL = "answered", "refused", "crash", "slow", "large", "control"


class Target(ABC):
    """A reader. An input is what lies in `folder`, and the words of one question about it.

    So it can be kept by copying the folder, and put again to the reader with `ask`.
    """

    name: ClassVar[str]
    share: ClassVar[float]
    """Of all inputs, in thousandths."""
    round: ClassVar[int] = 16
    """Inputs that come of one damage, about."""
    waits: ClassVar[bool] = False
    """It waits for the other side of a socket: its seconds are those of the clock, not of the processor."""

    def __init__(self, seeds: Path, folder: Path) -> None:
        self.seeds = seeds
        self.folder = folder
        self.prepare()

    def prepare(self) -> None:  # noqa: B027 - not all have something
        """Puts what is damaged in place into the folder, once."""

    @abstractmethod
    def inputs(self, chance: Random) -> Iterator[str]:
        """Damages what lies in the folder, gives the words of each question about it, makes it whole again."""

    @abstractmethod
    def ask(self, folder: Path, words: str) -> str:
        """What a user would see of the answer. Raises BareflowError."""


@dataclass(frozen=True)
class Verdict:
    """What became of one input."""

    findings: tuple[str, ...]
    """ANSWERED or REFUSED, or what is wrong: CRASH, SLOW, LARGE, CONTROL."""
    kind: str
    """The exception's type and place, or the sentence with the control character."""
    seconds: float
    mb: float

    @property
    def bad(self) -> bool:
        return not {ANSWERED, REFUSED}.issuperset(self.findings)


def judge(target: Target, folder: Path, words: str) -> Verdict:
    """Puts one input to its reader."""
    clock = time.monotonic if target.waits else time.process_time
    before, started = _peak_mb(), clock()
    kind, shown, place, findings = "", "", "", []
    try:
        shown = target.ask(folder, words)
        shown.encode()
        place = f"the answer to {words.split()[0]}"
        findings.append(ANSWERED)
    except BareflowError as error:
        shown, place = str(error), f"{type(error).__name__} {_place(error)}"
        findings.append(REFUSED)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        kind = f"{type(error).__name__} {_place(error)}"
        findings.append(CRASH)
    seconds = clock() - started
    harm = HARMFUL.search(shown)
    if harm:
        kind = f"control character in {place}"
        findings.append(CONTROL)
    if seconds > SLOW_SECONDS:
        findings.append(SLOW)
    mb = _peak_mb() - before
    if mb > LARGE_MB:
        findings.append(LARGE)
    return Verdict(tuple(findings), kind or " ".join(findings), seconds, mb)


def inputs_of(found: Mapping[str, int]) -> int:
    """How many inputs a count of findings is of: one that was slow or large has another finding, too."""
    return sum(found.get(word, 0) for word in (ANSWERED, REFUSED, CRASH))


def copy_tree(source: Path, target: Path) -> Path:
    """Copies what a reader got as it is, with symbolic links and FIFOs; sockets are made anew for each question."""
    return Path(shutil.copytree(source, target, symlinks=True, copy_function=_copy, ignore=_sockets))


def _sockets(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if Path(folder, name).is_socket()]


def _copy(source: str, target: str) -> None:
    if Path(source).is_fifo():
        os.mkfifo(target)
    else:
        shutil.copyfile(source, target)


def _place(error: BaseException) -> str:
    """File, line and function: the innermost of the suite's own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/bareflow_gdb/" in frame.filename] or frames
    frame = own[-1]
    return f"{frame.filename.rpartition('/bareflow_gdb/')[2]}:{frame.lineno} {frame.name}"


def _peak_mb() -> float:
    """The most that this process ever had, so that only an input that goes beyond it is charged.

    Not `ru_maxrss`, which begins with that of the process that started this one.
    """
    with Path("/proc/self/status").open("rb") as file:
        return int(file.read().partition(b"VmHWM:")[2].split(None, 1)[0]) / 1024
