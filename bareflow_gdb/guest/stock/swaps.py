"""Which swaps can be told of a stock kernel, that keeps neither versions nor events?

Its memory tells which levels were published, and where their code is; a serial log adds their order and the
calls. Times are not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.stock.jit import THRESHOLDS, Entries, Entry, swapped_levels
from bareflow_gdb.guest.swaps import Swap, Swaps
from bareflow_gdb.memory.protocol import Memory

_RECOMPILE = re.compile(r"\[RECOMPILE\] (\S+): O(\d) -> O(\d)$")
_REACHED = re.compile(r"\[Call (\d{1,18})\] Threshold reached - recompiling to O(\d)\.\.\.$")
_BEGIN = "[ADAPTIVE-JIT] Initialized"
_MOST_LINES = 200_000

UNKNOWN = (
    "when each swap was, how long it took, and roll-backs: this kernel keeps no events; a watchpoint on the slot sees "
    "the next one",
)
BY_DEFAULTS = (
    "the calls at which swaps were decided are the default thresholds: they are not in this kernel's data"
)


@dataclass(frozen=True)
class Logged:
    """One recompilation by the serial log."""

    function: str
    from_level: int
    to_level: int
    call: int | None


def parse_log(text: str) -> list[Logged]:
    """The recompilations of the log's last run, in the order of time."""
    lines = text[text.rfind(_BEGIN) if _BEGIN in text else 0 :].splitlines()
    found: list[Logged] = []
    for line in lines[:_MOST_LINES]:
        swap = _RECOMPILE.match(line.rstrip())
        if swap is not None:
            found.append(Logged(swap[1], int(swap[2]), int(swap[3]), None))
            continue
        reached = _REACHED.match(line.rstrip())
        if reached is not None and found and found[-1].to_level == int(reached[2]):
            last = found[-1]
            found[-1] = Logged(last.function, last.from_level, last.to_level, int(reached[1]))
    return found


def list_swaps(memory: Memory, read: Entries, modules: dict[int, int], log: str | None = None) -> Swaps:
    """`modules`: bytes of the code of each module by its address, for what O0 code has."""
    logged = {
        (item.function, item.to_level): (place, item) for place, item in enumerate(parse_log(log or ""))
    }
    found: list[tuple[int, Swap]] = []
    for entry in read.entries:
        before = 0
        for level in swapped_levels(entry):
            place, item = logged.get((entry.name, level), (len(logged), None))
            found.append((place, _swap(memory, entry, before, level, item, modules)))
            before = level
    # Stable: what the log does not tell stays in the order of functions and levels.
    swaps = tuple(swap for _, swap in sorted(found, key=lambda pair: pair[0]))
    return Swaps(swaps=swaps, swap_count=len(swaps), tsc_hz=0, forgotten=0)


def _swap(
    memory: Memory, entry: Entry, before: int, level: int, logged: Logged | None, modules: dict[int, int]
) -> Swap:
    threshold = THRESHOLDS[level - 1]
    reached = entry.calls >= threshold
    old_size = entry.code_size(before) or modules.get(entry.codes[before], 0)
    return Swap(
        function=entry.name,
        index=entry.index,
        from_level=before,
        to_level=level,
        from_version=None,
        to_version=0,
        reason="threshold" if reached or logged is not None else "none",
        call=logged.call
        if logged is not None and logged.call is not None
        else threshold
        if reached
        else None,
        old_code=entry.codes[before],
        new_code=entry.codes[level],
        code_size=entry.code_size(level),
        tsc=0,
        tsc_threshold=None,
        tsc_first=None,
        threshold_to_publish_us=None,
        publish_to_first_us=None,
        same_code=_same(memory, entry, before, level, old_size),
    )


def _same(memory: Memory, entry: Entry, before: int, level: int, old_size: int) -> bool:
    """Equal bytes, where both sizes are known; the last level of a buffer has no padding after it."""
    size = entry.code_size(level)
    old, new = entry.codes[before], entry.codes[level]
    if old == new:
        return True
    if not size or not old_size:
        return False
    try:
        one, other = memory.read(old, old_size, "old code"), memory.read(new, size, "new code")
    except ReadError:
        return False
    return one.rstrip(b"\0\x90\xcc") == other.rstrip(b"\0\x90\xcc")
