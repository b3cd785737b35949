"""Does memory say what the kernel exported on COM1? Two sources of one profile, compared figure by figure.

The document was printed at some moment, memory may be of a later one: then calls have gone on, and only what cannot
be afterwards is a contradiction. Where as many calls are counted on both sides, every figure must be equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bareflow_gdb.guest.code.exported import Exported, ExportedRow, exported
from bareflow_gdb.guest.code.profiler import Profile
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.guest.modules.modules import Modules

_CYCLES = ("total_cycles", "min_cycles", "max_cycles")
_CODE = ("code_address", "code_size")


@dataclass(frozen=True)
class SecondSource:
    """One document against memory."""

    document: Exported
    against: str
    """What in memory it was compared with: "modules", "functions"; "" = memory has neither."""
    agreed: int
    """Figures that are equal."""
    later: int
    """Figures that memory has of a later moment."""
    contradictions: tuple[str, ...]
    incomplete: tuple[str, ...]
    """What could not be compared, because the log is cut off or damaged."""


@dataclass(frozen=True)
class _Counted:
    calls: int
    total_cycles: int
    min_cycles: int
    max_cycles: int
    code_address: int
    code_size: int | None
    """None = memory does not tell."""


_Table = Mapping[str, _Counted]


def second_sources(
    log: str, modules: Modules | None, profile: Profile | None, swaps: Swaps | None
) -> tuple[SecondSource, ...]:
    """Every document of the log against the table in memory whose names it has."""
    tables = {"modules": _of_modules(modules), "functions": _of_profile(profile, swaps)}
    counts = {
        "modules": modules.total_calls if modules else None,
        "functions": profile.total_calls if profile else None,
    }
    swapped = {swap.function: swap.tsc for swap in swaps.swaps} if swaps else {}
    found = []
    for document in exported(log):
        against = _meant(document, tables)
        found.append(_compared(document, against, tables.get(against, {}), counts.get(against), swapped))
    return tuple(found)


def _meant(document: Exported, tables: Mapping[str, _Table]) -> str:
    """Functions are exported in the same form as modules, often by the same names: the heading tells which they are.

    Where it is cut off, the table with which more figures agree is meant.
    """
    there = {name: table for name, table in tables.items() if any(row.name in table for row in document.rows)}
    if document.heading:
        wanted = "functions" if document.heading.startswith("FUNCTION") else "modules"
        return wanted if wanted in there else next(iter(there), next((name for name in tables if tables[name]), ""))

    def agreeing(name: str) -> int:
        known = [(row, there[name][row.name]) for row in document.rows if row.name in there[name]]
        return sum(told == held for row, counted in known for _, told, held in _figures(row, counted))

    return max(there, key=agreeing, default="")


def _of_modules(modules: Modules | None) -> dict[str, _Counted]:
    return {
        one.name: _Counted(one.calls, one.total_cycles, one.min_cycles or 0, one.max_cycles, one.code, one.code_size)
        for one in (modules.modules if modules else ())
    }


def _of_profile(profile: Profile | None, swaps: Swaps | None) -> dict[str, _Counted]:
    sizes = {swap.new_code: swap.code_size for swap in swaps.swaps} if swaps else {}
    return {
        one.name: _Counted(
            one.calls, one.total_cycles, one.min_cycles or 0, one.max_cycles, one.address, sizes.get(one.address)
        )
        for one in (profile.functions if profile else ())
    }


def _compared(
    document: Exported, against: str, table: _Table, total_calls: int | None, swapped: Mapping[str, int]
) -> SecondSource:
    agreed = later = 0
    contradictions: list[str] = []
    for row in document.rows if against else ():
        known = table.get(row.name)
        if known is None:
            contradictions.append(f"{row.name} was exported, and is not in memory")
            continue
        went_on = known.calls > (row.calls or 0) or swapped.get(row.name, 0) > (document.tsc or 0)
        for name, told, held in _figures(row, known):
            if told == held:
                agreed += 1
            elif went_on and _may_follow(name, told, held):
                later += 1
            else:
                sides = f"{_shown(name, told)} exported, {_shown(name, held)} in memory"
                contradictions.append(f"{row.name}: {name.replace('_', ' ')} {sides}")
    if against and document.total_calls is not None and total_calls is not None:
        agreed += document.total_calls == total_calls
        later += document.total_calls < total_calls
        if document.total_calls > total_calls:
            contradictions.append(f"{document.total_calls:,} calls in all exported, {total_calls:,} in memory")
    if against and not document.cut and not document.unreadable:
        exported_names = {row.name for row in document.rows}
        contradictions += (f"{name} is in memory, and was not exported" for name in table if name not in exported_names)
    return SecondSource(document, against, agreed, later, tuple(contradictions), tuple(_incomplete(document)))


def _figures(row: ExportedRow, known: _Counted) -> Iterable[tuple[str, int, int]]:
    for name in ("calls", *_CYCLES, *_CODE):
        told, held = getattr(row, name), getattr(known, name)
        # 0 bytes: the kernel does not know it.
        if told is not None and held is not None and not (name == "code_size" and 0 in (told, held)):
            yield name, told, held


def _may_follow(name: str, told: int, held: int) -> bool:
    """May memory hold this after the export, as calls went on?"""
    if name in _CODE:
        return True
    return held < told or told == 0 if name == "min_cycles" else held > told


def _incomplete(document: Exported) -> Iterable[str]:
    if document.cut:
        yield f"the log does not hold the {document.cut} of this document"
    if document.unreadable:
        yield f"{document.unreadable:,} rows of it are damaged in the log"
    if document.count is not None and not document.cut and document.count != len(document.rows) + document.unreadable:
        yield f"it says that it has {document.count:,} rows, and has {len(document.rows):,}"


def _shown(name: str, value: int) -> str:
    return f"0x{value:08x}" if name == "code_address" else f"{value:,}"
