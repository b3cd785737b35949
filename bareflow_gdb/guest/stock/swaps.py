"""Which swaps can be told of a stock kernel, that keeps neither versions nor events?

Its memory tells which levels were published, and where their code is; a serial log adds their order and the
calls. Times are not known.
Read budget, beyond that of jit.py: 1 packet for the module manager, 1 to 2 for each function that is compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from bareflow_gdb.guest.base.reading import ONE_PACKET, strays
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.log_lines import Reached, Recompiled, is_from_begin, last_run, swap_lines
from bareflow_gdb.guest.code.swaps import Swap, Swaps
from bareflow_gdb.guest.stock.jit import THRESHOLDS, Entries, Entry, swapped_levels
from bareflow_gdb.memory.protocol import Memory

COMPARED = 3
"""Functions whose levels are compared by their bytes: the buffers that a stock CODE pool of 32 KB holds; each is a
packet."""

UNKNOWN = (
    "when each swap was, how long it took, and roll-backs: this kernel keeps no events; a watchpoint on the slot sees "
    "the next one",
)
BY_DEFAULTS = (
    "the calls at which swaps were decided, where no serial log tells them: the default thresholds are shown, as they "
    "are not in this kernel's data"
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
    found: list[Logged] = []
    for said in swap_lines(last_run(text)):
        if isinstance(said, Recompiled):
            found.append(Logged(said.function, said.from_level, said.to_level, None))
        elif isinstance(said, Reached) and found and found[-1].to_level == said.level:
            found[-1] = dataclasses.replace(found[-1], call=said.call)
    return found


def tells_calls(read: Entries, log: str) -> bool:
    """Does the log say of every swap at which call it was decided?"""
    told = {(item.function, item.to_level) for item in parse_log(log) if item.call is not None}
    return told >= {(entry.name, level) for entry in read.entries for level in swapped_levels(entry)}


def list_swaps(memory: Memory, read: Entries, sizes: Mapping[Address, int], log: str | None = None) -> Swaps:
    """`sizes`: bytes of the code at each address, as far as that is known."""
    logged = {(item.function, item.to_level): (place, item) for place, item in enumerate(parse_log(log or ""))}
    found: list[tuple[int, Swap]] = []
    codes = _codes(memory, read.entries[:COMPARED], sizes)
    for entry in read.entries:
        before = 0
        levels = swapped_levels(entry)
        for level in levels:
            told = {other: logged[entry.name, other][0] for other in levels if (entry.name, other) in logged}
            _, item = logged.get((entry.name, level), (0, None))
            found.append((_place(level, told, log or "", len(logged)), _swap(codes, sizes, entry, before, level, item)))
            before = level
    # Stable: what the log does not tell stays in the order of functions and levels.
    swaps = tuple(swap for _, swap in sorted(found, key=lambda pair: pair[0]))
    return Swaps(
        swaps=swaps, swap_count=len(swaps), tsc_hz=0, forgotten=None, counted_by="levels", publishing=read.publishing
    )


def _place(level: int, told: Mapping[int, int], log: str, end: int) -> int:
    """Where a function's swap stands in the order of the log, whose places of its levels are `told`."""
    if any(other >= level for other in told):
        # It came before the higher levels, whether it was printed or not.
        return min(place for other, place in told.items() if other >= level)
    # A log that begins later does not tell what was before.
    return -1 if log and not told and not is_from_begin(log) else end


def _codes(memory: Memory, entries: tuple[Entry, ...], sizes: Mapping[Address, int]) -> dict[int, bytes]:
    """The code at each address whose size is known; padding at the end is left out."""
    codes = dict.fromkeys(code for entry in entries for code in entry.level_codes)
    wanted = [(code, sizes[code], "code of a level") for code in codes if 0 < sizes.get(code, 0) <= ONE_PACKET]
    read = strays(memory, wanted)
    return {
        code: data.rstrip(b"\0\x90\xcc") for (code, _, _), data in zip(wanted, read, strict=True) if data is not None
    }


def _swap(
    codes: dict[int, bytes], sizes: Mapping[Address, int], entry: Entry, before: int, level: int, logged: Logged | None
) -> Swap:
    threshold = THRESHOLDS[level - 1]
    reached = entry.calls >= threshold
    old, new = entry.level_codes[before], entry.level_codes[level]
    return Swap(
        function=entry.name,
        index=entry.index,
        from_level=before,
        to_level=level,
        reason="threshold" if reached or logged is not None else "none",
        call=logged.call if logged is not None and logged.call is not None else threshold if reached else None,
        old_code=old,
        new_code=new,
        code_size=sizes.get(new, 0),
        same_code=old == new or (old in codes and codes[old] == codes.get(new)),
    )
