"""What did each module cost? A profile: calls and cost of every module, from the guest's JSON, its memory, or a file.

A file is the guest's own document (firmware/kernel/export.c) with words added that nobody else needs to know:
`unit` ("instructions" under icount, else "cycles"), `source`, and of each module the SHA-256 of the bitcode
that it was built from, by which a profile of other sources is found out, and what it counted of itself: how often its
blocks ran (`counters`), and with which `arguments` it was called.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bareflow_gdb.build.names import NAME
from bareflow_gdb.errors import BadData
from bareflow_gdb.files import BY_UMASK, write_atomically
from bareflow_gdb.foreign import sentence
from bareflow_gdb.guest.code.exported import BEGIN, Exported, exported
from bareflow_gdb.guest.code.profiler import Profile as FunctionProfile
from bareflow_gdb.guest.modules.modules import Modules
from bareflow_gdb.pgo import counts
from bareflow_gdb.pgo.arguments import Arguments, Constants, constants
from bareflow_gdb.pgo.counts import FunctionCounts
from bareflow_gdb.small_files import parse_json, read_small

FORMAT = "1.0"
MODULES, FUNCTIONS = "modules", "functions"
"""Of the modules' own tests, a few calls of each; of the adaptive run, thousands."""
HEADINGS = {MODULES: "PROFILING DATA EXPORT", FUNCTIONS: "FUNCTION PROFILING DATA EXPORT"}
INSTRUCTIONS, CYCLES = "instructions", "cycles"
MOST_BYTES = 16 << 20
MOST_MODULES = 128
_LONGEST_NAME = 31
_COUNTS = ("calls", "total_cycles", "min_cycles", "max_cycles", "code_size")
_ANEW = "take a new one with `bareflow pgo profile`"


@dataclass(frozen=True)
class Cost:
    """One module, in the profile's unit."""

    name: str
    calls: int
    total: int
    least: int
    """Of a call; 0 when it was never called."""
    most: int
    code_size: int
    bitcode: str = ""
    """SHA-256 of the bitcode that was measured; "" = the profile does not say."""
    counters: tuple[FunctionCounts, ...] = ()
    """How often each block of its functions ran; () = it was not counted."""
    arguments: Arguments | None = None
    """With which it was called; None = they were not counted."""

    @property
    def mean(self) -> float:
        """Of a call."""
        return self.total / self.calls if self.calls else 0.0

    @property
    def constants(self) -> Constants | None:
        """The arguments that most of its calls had; None where there are none such, or they were not counted."""
        return constants(self.arguments) if self.arguments is not None else None


@dataclass(frozen=True)
class Counted:
    """What a module counted of itself, as Cost has it."""

    counters: tuple[FunctionCounts, ...] = ()
    arguments: Arguments | None = None


@dataclass(frozen=True)
class Profile:
    """What was measured in one run."""

    unit: str
    source: str
    costs: tuple[Cost, ...]

    def signed(self, bitcodes: Mapping[str, str]) -> Profile:
        """With the digests of what was measured."""
        return replace(self, costs=tuple(replace(cost, bitcode=bitcodes.get(cost.name, "")) for cost in self.costs))

    def of(self, names: Collection[str]) -> Profile:
        """Of these modules alone."""
        return replace(self, costs=tuple(cost for cost in self.costs if cost.name in names))

    def counted(self, counts: Mapping[str, Counted]) -> Profile:
        """With what these modules counted of themselves."""
        return replace(self, costs=tuple(self._counted(cost, counts.get(cost.name, Counted())) for cost in self.costs))

    @staticmethod
    def _counted(cost: Cost, found: Counted) -> Cost:
        return replace(cost, counters=found.counters, arguments=found.arguments)

    def to_json(self) -> dict[str, Any]:
        """As a file has it."""
        modules = [
            {
                "name": cost.name,
                "calls": cost.calls,
                "total_cycles": cost.total,
                "min_cycles": cost.least,
                "max_cycles": cost.most,
                "code_size": cost.code_size,
                "bitcode_sha256": cost.bitcode,
                **({"counters": [one.to_json() for one in cost.counters]} if cost.counters else {}),
                **({"arguments": cost.arguments.to_json()} if cost.arguments is not None else {}),
            }
            for cost in self.costs
        ]
        calls = sum(cost.calls for cost in self.costs)
        told = {"format_version": FORMAT, "unit": self.unit, "source": self.source}
        return {**told, "total_calls": calls, "num_modules": len(modules), "modules": modules}

    def write(self, path: Path) -> None:
        """Raises CannotWrite."""
        write_atomically(path, json.dumps(self.to_json(), indent=2) + "\n", BY_UMASK)


def read(path: Path, of: str = MODULES) -> Profile:
    """The profile in a file: one of ours, the guest's JSON, or a serial log with it. Raises BadData."""
    try:
        text = read_small(path, MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}; {_ANEW}") from error
    except ValueError as error:
        raise BadData(f"{path} is no profile: {error}; {_ANEW}") from error
    if not text.strip():
        raise BadData(f"{path} is empty; {_ANEW}")
    if BEGIN in text:
        return of_log(text, of, str(path))
    return _of_json(text, str(path))


def of_log(log: str, of: str, where: str) -> Profile:
    """What the guest printed on COM1. Raises BadData."""
    found = [document for document in exported(log) if document.heading == HEADINGS[of]]
    if not found:
        raise BadData(
            f"{where} holds no profile of the {of}; let the guest print it, or ask for the other one with --of"
        )
    return _checked(_costs_of(found[0], where), CYCLES, f"COM1, {of}", where)


def _costs_of(document: Exported, where: str) -> list[Cost]:
    if document.cut or document.unreadable or document.count != len(document.rows):
        missing = f"its {document.cut} is missing" if document.cut else f"{len(document.rows)} rows of {document.count}"
        raise BadData(f"the profile in {where} is not whole ({missing}); {_ANEW}")
    return [
        _cost({"name": row.name, **{count: getattr(row, count) for count in _COUNTS}}, where) for row in document.rows
    ]


def of_modules(modules: Modules, where: str) -> Profile:
    """From the module manager in memory. Raises BadData."""
    costs = [
        Cost(m.name, m.calls, m.total_cycles, m.min_cycles or 0, m.max_cycles, m.code_size)
        for m in modules.modules
        if m.loaded
    ]
    return _checked(costs, CYCLES, "memory, modules", where)


def of_functions(profile: FunctionProfile, where: str) -> Profile:
    """From the function profiler in memory. Raises BadData."""
    costs = [
        Cost(f.name, f.calls, f.total_cycles, f.min_cycles or 0, f.max_cycles, 0)
        for f in sorted(profile.functions, key=lambda function: function.id)
    ]
    return _checked(costs, CYCLES, "memory, functions", where)


def _of_json(text: str, where: str) -> Profile:
    try:
        made = parse_json(text)
    except ValueError as error:
        raise BadData(f"{where} is no profile, or not all of one: it is not JSON ({error}); {_ANEW}") from error
    rows = made.get("modules") if isinstance(made, dict) else None
    if not isinstance(rows, list) or made.get("format_version") != FORMAT:
        raise BadData(f"{where} is JSON, but no profile of format {FORMAT}; {_ANEW}")
    if len(rows) > MOST_MODULES or made.get("num_modules", len(rows)) != len(rows):
        raise BadData(f"{where} has {len(rows)} modules and says {str(made.get('num_modules'))[:20]}; {_ANEW}")
    unit = made.get("unit", CYCLES)
    if unit not in (INSTRUCTIONS, CYCLES):
        raise BadData(f"{where} counts {str(unit)[:40]}, which is neither instructions nor cycles; {_ANEW}")
    source = made.get("source")
    source = sentence(source)[:80] if isinstance(source, str) and source else where
    return _checked([_cost(row, where) for row in rows], unit, source, where)


def _cost(row: Any, where: str) -> Cost:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise BadData(f"a row of {where} names no module; {_ANEW}")
    numbers = [row.get(count) for count in _COUNTS]
    bitcode = row.get("bitcode_sha256", "")
    if not all(type(count) is int and 0 <= count < 1 << 64 for count in numbers) or not isinstance(bitcode, str):
        raise BadData(f"the row of {name} in {where} has no counts; {_ANEW}")
    calls, total, least, most, size = numbers
    if calls and not (least <= most and calls * least <= total <= calls * most):
        raise BadData(
            f"the counts of {name} in {where} contradict one another ({calls} calls, {total} in all); {_ANEW}"
        )
    counted = counts.from_json(row.get("counters", []), where)
    arguments = Arguments.from_json(row["arguments"], where) if "arguments" in row else None
    return Cost(name, calls, total, least, most, size, bitcode[:64], counted, arguments)


def _checked(costs: Iterable[Cost], unit: str, source: str, where: str) -> Profile:
    costs = tuple(costs)
    names = [cost.name for cost in costs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadData(f"{where} has {', '.join(twice)} twice; {_ANEW}")
    if not any(cost.calls for cost in costs):
        raise BadData(f"no module was called in {where}; {_ANEW}")
    return Profile(unit, source, costs)
