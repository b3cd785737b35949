"""Which rules may a guest be held to, and with which verdicts? A small TOML file:

[reaches]                                       # a function, or "*" for each, and the tier that it must reach
primes = { tier = 3, by_call = 10000 }          # at this call or before
"*" = { tier = 1 }

[at_most]
regretted_swaps = 0                             # swaps to code that is slower
exceptions = 0
findings = 0                                    # of `bareflow checks`, the bad ones
lost_events = 0                                 # of a trace

[pool_below]                                    # percent of a pool in use, at its peak
code = 80
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import UsageError
from bareflow_gdb.foreign import printable
from bareflow_gdb.guest.pools.pools import KINDS
from bareflow_gdb.small_files import read_small

EVERY = "*"
REGRETTED, EXCEPTIONS, FINDINGS, LOST = "regretted_swaps", "exceptions", "findings", "lost_events"
COUNTED = (REGRETTED, EXCEPTIONS, FINDINGS, LOST)
KEPT, BROKEN, NOT_KNOWN = "kept", "broken", "not known"
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Reach:
    """A function must reach a tier, at this call or before; None = at any."""

    function: str
    tier: int
    by_call: int | None


@dataclass(frozen=True)
class Rules:
    """At least one."""

    reaches: tuple[Reach, ...]
    at_most: Mapping[str, int]
    pool_below: Mapping[str, float]


@dataclass(frozen=True)
class Judged:
    """One rule in words, its verdict, and what it is known by."""

    rule: str
    verdict: str
    """KEPT, BROKEN or NOT_KNOWN."""
    why: str


def read_rules(path: Path) -> Rules:
    """Raises UsageError: what is wrong in the file, and what could stand there."""
    try:
        document = tomllib.loads(read_small(path, _MAX_BYTES).decode())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give a file of rules (TOML)") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} holds no rules: {error}") from error
    try:
        return _rules(document)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def _rules(document: dict[str, Any]) -> Rules:
    tables = _table(document, "the file", ("reaches", "at_most", "pool_below"))
    reaches = _table(tables.get("reaches", {}), "[reaches]")
    at_most = _table(tables.get("at_most", {}), "[at_most]", COUNTED)
    below = _table(tables.get("pool_below", {}), "[pool_below]", KINDS)
    rules = Rules(
        tuple(_reach(function, wanted) for function, wanted in reaches.items()),
        {what: _whole(value, what, 0) for what, value in at_most.items()},
        {pool: _percent(value, pool) for pool, value in below.items()},
    )
    if not (rules.reaches or rules.at_most or rules.pool_below):
        raise ValueError("it has no rule; write one under [reaches], [at_most] or [pool_below]")
    return rules


def _reach(function: str, wanted: Any) -> Reach:
    where = f"{printable(function)} under [reaches]"
    words = _table(wanted, f"{where} is to be {{ tier = N, by_call = N }}:", ("tier", "by_call"))
    if "tier" not in words:
        raise ValueError(f"{where} says no tier; write {{ tier = 3 }}")
    tier = _whole(words["tier"], f"the tier of {where}", 0, layouts.const("BF_LEVELS") - 1)
    by_call = _whole(words["by_call"], f"by_call of {where}", 1) if "by_call" in words else None
    return Reach(printable(function), tier, by_call)


def _table(value: Any, where: str, known: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no table")
    for name in value:
        if known is not None and name not in known:
            raise ValueError(f"{where} has {printable(name)!r}, which is no rule; there are {', '.join(known)}")
    return value


def _whole(value: Any, what: str, least: int, most: int | None = None) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        upto = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise ValueError(f"{what} is {printable(str(value)[:40])}, not a whole number {upto}")
    return value


def _percent(value: Any, pool: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 100:
        raise ValueError(f"{pool} under [pool_below] is {printable(str(value)[:40])}, not a percentage from 0 to 100")
    return float(value)
