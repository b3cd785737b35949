"""How is each module to be compiled? Classes by calls and cost, each with its reason; the plan as JSON.

    {"plan_version": 1, "unit": "instructions", "profile": "COM1, modules",
     "thresholds": {"calls": 100, "cost": 100000, "factor": 10},
     "modules": [{"name": "compute", "class": "hot", "level": 2, "unroll": false,
                  "counters": [], "constants": null, "calls": 10, "total": 402120,
                  "bitcode_sha256": "…", "reason": "…"}]}

`level` is the tier O0 to O3; `counters` are the counts of its blocks, when they are used too; `constants` are arguments
that it is made for, behind a guard; `unroll` lets loops be unrolled of which the compiler does not know how often they
run. docs/pgo.md explains it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bareflow_gdb.build.names import NAME
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.files import BY_UMASK, write_atomically
from bareflow_gdb.foreign import sentence
from bareflow_gdb.pgo import counts
from bareflow_gdb.pgo.arguments import Constants
from bareflow_gdb.pgo.counts import FunctionCounts
from bareflow_gdb.pgo.profile import INSTRUCTIONS, Cost, Profile
from bareflow_gdb.small_files import parse_json, read_small

VERSION = 1
ULTRA, HOT, WARM, COLD = "ultra-hot", "hot", "warm", "cold"
LEVELS = {ULTRA: 3, HOT: 2, WARM: 1, COLD: 0}
_MOST_BYTES = 1 << 20
_ANEW = "make it with `bareflow pgo plan`"


@dataclass(frozen=True)
class Thresholds:
    """From which a module is hot: calls, or instructions or cycles in all; `factor` times that, it is ultra-hot."""

    calls: int = 100
    cost: int = 100_000
    factor: int = 10

    def __post_init__(self) -> None:
        if self.calls < 1 or self.cost < 1 or self.factor < 1:
            raise UsageError("a threshold of less than 1 makes everything hot; give 1 or more")


@dataclass(frozen=True)
class Choice:
    """How one module is compiled."""

    name: str
    kind: str
    """Its class."""
    level: int
    counters: tuple[FunctionCounts, ...]
    """By which it is compiled; () = by its level alone."""
    constants: Constants | None = field(default=None, kw_only=True)
    """Arguments that it is made for; None = for any."""
    unroll: bool = field(default=False, kw_only=True)
    calls: int
    total: int
    reason: str
    bitcode: str = ""

    @property
    def how(self) -> str:
        """In short: O3, or O3+counters+constants+unrolled."""
        words = (("+counters", self.counters), ("+constants", self.constants), ("+unrolled", self.unroll))
        more = (word for word, used in words if used)
        return f"O{self.level}{''.join(more)}"


@dataclass(frozen=True)
class Plan:
    """All of it."""

    unit: str
    profile: str
    thresholds: Thresholds
    choices: tuple[Choice, ...]

    def with_choices(self, choices: Iterable[Choice]) -> Plan:
        """The same with other choices."""
        return replace(self, choices=tuple(choices))

    def to_json(self) -> dict[str, Any]:
        """As a file has it."""
        limits = self.thresholds
        return {
            "plan_version": VERSION,
            "unit": self.unit,
            "profile": self.profile,
            "thresholds": {"calls": limits.calls, "cost": limits.cost, "factor": limits.factor},
            "modules": [
                {
                    "name": choice.name,
                    "class": choice.kind,
                    "level": choice.level,
                    "unroll": choice.unroll,
                    "counters": [one.to_json() for one in choice.counters],
                    "constants": choice.constants.to_json() if choice.constants is not None else None,
                    "calls": choice.calls,
                    "total": choice.total,
                    "bitcode_sha256": choice.bitcode,
                    "reason": choice.reason,
                }
                for choice in self.choices
            ],
        }

    def write(self, path: Path) -> None:
        """Raises CannotWrite."""
        write_atomically(path, json.dumps(self.to_json(), indent=2) + "\n", BY_UMASK)


def make(profile: Profile, thresholds: Thresholds, *, counters: bool = False, arguments: bool = False) -> Plan:
    """`counters`: hot modules are compiled by the counts of their blocks, the loops of ultra-hot ones unrolled.

    `arguments`: hot modules are made for those that most calls have.
    """
    choices = (_choice(cost, profile.unit, thresholds, counters, arguments) for cost in profile.costs)
    ordered = sorted(choices, key=lambda choice: (-choice.total, choice.name))
    return Plan(profile.unit, profile.source, thresholds, tuple(ordered))


def _choice(cost: Cost, unit: str, limits: Thresholds, counters: bool, arguments: bool) -> Choice:
    kind, reason = _class_of(cost, unit, limits)
    hot = kind in (ULTRA, HOT)
    used = cost.counters if counters and hot else ()
    made_for = cost.constants if arguments and hot else None
    if made_for is not None:
        reason += f"; {made_for.often}"
    return Choice(
        cost.name,
        kind,
        LEVELS[kind],
        used,
        cost.calls,
        cost.total,
        reason,
        cost.bitcode,
        constants=made_for,
        unroll=bool(used) and kind == ULTRA,
    )


def _class_of(cost: Cost, unit: str, limits: Thresholds) -> tuple[str, str]:
    if not cost.calls:
        return COLD, "never called"
    for kind, factor in ((ULTRA, limits.factor), (HOT, 1)):
        if cost.total >= limits.cost * factor:
            return kind, f"{cost.total:,} {unit} ≥ {limits.cost * factor:,}"
        if cost.calls >= limits.calls * factor:
            return kind, f"{_calls(cost)} ≥ {limits.calls * factor:,}"
    return WARM, f"{_calls(cost)} < {limits.calls:,}, {cost.total:,} {unit} < {limits.cost:,}"


def _calls(cost: Cost) -> str:
    return f"{cost.calls:,} call{'' if cost.calls == 1 else 's'}"


def read(path: Path) -> Plan:
    """Raises BadData when the file is no plan."""
    try:
        made = parse_json(read_small(path, _MOST_BYTES))
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}; {_ANEW}") from error
    except ValueError as error:
        raise BadData(f"{path} is no plan ({error}); {_ANEW}") from error
    if not isinstance(made, dict) or made.get("plan_version") != VERSION or not isinstance(made.get("modules"), list):
        raise BadData(f"{path} is no plan of version {VERSION}; {_ANEW}")
    choices = tuple(_read_choice(row, path) for row in made["modules"])
    names = [choice.name for choice in choices]
    if not names or len(set(names)) != len(names):
        raise BadData(f"{path} names {'a module twice' if names else 'no module'}; {_ANEW}")
    limits = made.get("thresholds")
    limits = limits if isinstance(limits, dict) else {}
    numbers = {word: limits[word] for word in ("calls", "cost", "factor") if type(limits.get(word)) is int}
    words = (made.get(word, "") for word in ("unit", "profile"))
    unit, profile = (sentence(word)[:80] if isinstance(word, str) else "" for word in words)
    return Plan(unit or INSTRUCTIONS, profile, Thresholds(**numbers), choices)


def _read_choice(row: Any, path: Path) -> Choice:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadData(f"a row of {path} names no module; {_ANEW}")
    level, counters = row.get("level"), counts.from_json(row.get("counters", []), str(path))
    if type(level) is not int or level not in LEVELS.values():
        raise BadData(f"{path} gives {name} no level from 0 to 3; {_ANEW}")
    unroll = row.get("unroll", False) is True
    made_for = row.get("constants")
    given = None if made_for is None else Constants.from_json(made_for, f"{name} of {path}")
    kind, reason, bitcode = (sentence(str(row.get(word, "")))[:100] for word in ("class", "reason", "bitcode_sha256"))
    calls, total = (row[word] if type(row.get(word)) is int else 0 for word in ("calls", "total"))
    return Choice(name, kind, level, counters, calls, total, reason, bitcode, constants=given, unroll=unroll)
