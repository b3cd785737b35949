"""What does the kernel print about its swaps?

For each `[RECOMPILE] NAME: O0 -> O1`, then `[ATOMIC-SWAP] Code pointer updated to O1`, and, when a threshold asked
for it, `[Call 100] Threshold reached - recompiling to O1...`. Stock kernels print the same.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SAID = re.compile(
    r"\[RECOMPILE\] (?P<function>\S+): O(?P<old>\d) -> O(?P<new>\d)"
    r"|\[ATOMIC-SWAP\] Code pointer updated to O(?P<stored>\d)"
    r"|\[Call (?P<call>\d{1,18})\] Threshold reached - recompiling to O(?P<reached>\d)"
)
_CALL = re.compile(
    r"\[ADAPTIVE-JIT\] Registered: (?P<registered>\S+)"
    r"|\[RECOMPILE\] (?P<recompiled>\S+): O\d -> O\d"
    r"|\[Call (?P<call>\d{1,18})\]"
)
_STORM = re.compile(r"^\[STORM\] (\d{1,10}) swaps", re.MULTILINE)
_BEGIN = "[ADAPTIVE-JIT] Initialized"
FIRST_LINE = "[serial] init ok"
"""With it a boot begins to print."""
_BOOT = re.compile(f"^{re.escape(FIRST_LINE)}", re.MULTILINE)

LOOP = 3
"""So many boots in a log are a reboot loop."""


@dataclass(frozen=True)
class Recompiled:
    """New code is there."""

    line: int
    function: str
    from_level: int
    to_level: int


@dataclass(frozen=True)
class Stored:
    """The code pointer was changed."""

    line: int
    level: int


@dataclass(frozen=True)
class Reached:
    """The call at which a threshold had asked for the last recompilation."""

    line: int
    level: int
    call: int


def swap_lines(log: str) -> Iterator[Recompiled | Stored | Reached]:
    """What the log tells of swaps, in its order; lines count from 1."""
    for number, line in enumerate(log.splitlines(), 1):
        match = _SAID.search(line)
        if match is None:
            continue
        if match["function"]:
            yield Recompiled(number, match["function"], int(match["old"]), int(match["new"]))
        elif match["stored"]:
            yield Stored(number, int(match["stored"]))
        else:
            yield Reached(number, int(match["reached"]), int(match["call"]))


def swaps_only_counted(log: str) -> int:
    """How many swaps a storm made, which prints their number in place of each."""
    return max((int(count) for count in _STORM.findall(log)), default=0)


def calls_told(log: str) -> dict[str, int]:
    """The highest number of a call that was printed of each function: `[Call 101] Now running at O1`.

    Such a line names no function; it is of the one that was registered or recompiled last.
    """
    found: dict[str, int] = {}
    function = ""
    for line in log.splitlines():
        match = _CALL.search(line)
        if match is None:
            continue
        if match["call"] is None:
            function = match["registered"] or match["recompiled"]
        elif function:
            found[function] = max(found.get(function, 0), int(match["call"]))
    return found


def last_run(log: str) -> str:
    """What was printed since the kernel was booted the last time."""
    return log[max(log.rfind(_BEGIN), 0) :]


def is_from_begin(log: str) -> bool:
    """Does it hold all that was printed since the adaptive JIT began?"""
    return _BEGIN in log


def boots(log: str) -> list[str]:
    """The log cut where a kernel begins to print; what stands before the first such line is no boot's."""
    starts = [found.start() for found in _BOOT.finditer(log)]
    if not starts:
        return [log] if log else []
    return [log[start:end] for start, end in itertools.pairwise((*starts, len(log)))]
