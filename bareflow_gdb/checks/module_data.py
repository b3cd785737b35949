"""Does a stock kernel's module use memory behind its own image? Then its .bss was left out of the file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import STOCK, Subject
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import CANNOT_KNOW, Absent
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.own_place import Reached, reached
from bareflow_gdb.guest.code.paths import reachable
from bareflow_gdb.guest.stock.headers import headers_in
from bareflow_gdb.guest.stock.window import Window

_MOST_BYTES, _MOST_OF_ALL, _MOST_MODULES = 1 << 16, 1 << 19, 256


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.reads_cost:
        raise Absent("module", CANNOT_KNOW, "all of the kernel's data would be read for them, in packets")
    # By their headers: the table of modules is the first that is overwritten.
    window = Window(subject.kernel.memory)
    told: set[str] = set()
    left = _MOST_OF_ALL
    for _, header in islice(headers_in(window), _MOST_MODULES):
        name, entry, end = clean(header.name), header.entry_point, header.entry_point + header.code_size
        code = window.bytes(entry, header.code_size) if 0 < header.code_size <= _MOST_BYTES else None
        left -= len(code or b"")
        if code is None or name in told or entry < window.start or left < 0:
            continue
        found = [one for one in reached(reachable(code, entry, entry, lambda _: None)) if _behind(one, end)]
        if found:
            told.add(name)
            yield _finding(name, end, found)


def _behind(one: Reached, end: int) -> bool:
    """Where an array ends may be computed, too."""
    return end + (not one.uses) <= one.address < end + _MOST_BYTES


def _finding(name: str, end: int, found: list[Reached]) -> Finding:
    one = found[0]
    furthest = max(each.address for each in found)
    return Finding(
        what=f"module {name} uses memory at 0x{one.address:08x}, which is not its own",
        where=f"0x{one.step.address:08x}",
        evidence=f"`{one.step}`; its image ends at 0x{end:08x}, and {len(found)} instructions lead behind it, as far "
        f"as 0x{furthest:08x}: its .bss is not in its image",
        consequence="its variables lie over the pool's next block, or over another module: results are wrong, and what "
        "lay there is overwritten",
        next_step="link .bss into the module's file as zeros, or give it room and clear it when the module is loaded",
    )


CHECK = Check("module_data", "what a stock kernel's modules use behind their own images", (STOCK,), _look)
