"""With which arguments is a function called, and are most calls with the same ones?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from bareflow_gdb.errors import BadData

SHARE = 0.5
"""Of its calls: more of them must have the arguments that a version is made for."""
PAIRS = 8
"""So many different pairs are told apart."""
_ANEW = "take a new profile with `bareflow pgo profile --arguments`"


@dataclass(frozen=True)
class Arguments:
    """With what a function was called."""

    calls: Mapping[tuple[int, int], int]
    """How often with each pair, of the first PAIRS that came."""
    others: int
    """Calls with other pairs."""

    @property
    def total(self) -> int:
        """All calls."""
        return sum(self.calls.values()) + self.others

    def to_json(self) -> dict[str, Any]:
        """As files have it."""
        return {"pairs": [[a, b, calls] for (a, b), calls in self.calls.items()], "others": self.others}

    @classmethod
    def from_json(cls, made: Any, where: str) -> Arguments:
        """Raises BadData."""
        row = made if isinstance(made, dict) else {}
        rows, others = row.get("pairs"), row.get("others")
        if not isinstance(rows, list) or len(rows) > PAIRS or not _is_count(others):
            raise BadData(f"the arguments in {where} are damaged; {_ANEW}")
        calls: dict[tuple[int, int], int] = {}
        for row in rows:
            if not isinstance(row, list) or len(row) != 3 or not (_is_value(row[0]) and _is_value(row[1])):
                raise BadData(f"a row of the arguments in {where} is not [a, b, calls]; {_ANEW}")
            a, b, count = row
            if not _is_count(count) or not count or (a, b) in calls:
                raise BadData(f"the calls with {a} and {b} in {where} are damaged; {_ANEW}")
            calls[a, b] = count
        return cls(calls, others)


@dataclass(frozen=True)
class Constants:
    """What a version is made for: None = this argument is not always the same."""

    a: int | None
    b: int | None
    share: float
    """Of the calls that were counted."""

    def to_json(self) -> dict[str, Any]:
        """As files have it."""
        return {"a": self.a, "b": self.b, "share": self.share}

    @classmethod
    def from_json(cls, made: Any, where: str) -> Constants:
        """Raises BadData."""
        row = made if isinstance(made, dict) else {}
        a, b, share = (row.get(word) for word in ("a", "b", "share"))
        if not all(value is None or _is_value(value) for value in (a, b)) or a is b is None:
            raise BadData(f"the constants in {where} are no numbers; {_ANEW}")
        if not isinstance(share, float | int) or not 0 <= share <= 1:
            raise BadData(f"the share of calls in {where} is not from 0 to 1; {_ANEW}")
        return cls(a, b, share)

    @property
    def often(self) -> str:
        """In words: in which share of the calls."""
        return f"{self} in {self.share:.0%} of the calls"

    def __str__(self) -> str:
        given = [f"{name} = {value:,}" for name, value in (("a", self.a), ("b", self.b)) if value is not None]
        return " and ".join(given)


def _is_value(value: Any) -> TypeGuard[int]:
    return type(value) is int and -(1 << 31) <= value < 1 << 31


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 64


def constants(seen: Arguments) -> Constants | None:
    """The arguments that more than SHARE of the calls had: both, else one; None where there are none such."""
    if not seen.calls:
        return None
    first, second = Counter[int](), Counter[int]()
    for (a, b), calls in seen.calls.items():
        first[a] += calls
        second[b] += calls
    pair, both = max(seen.calls.items(), key=lambda one: one[1])
    (a, of_a), (b, of_b) = first.most_common(1)[0], second.most_common(1)[0]
    alone = Constants(a, None, of_a / seen.total), Constants(None, b, of_b / seen.total)
    found = Constants(*pair, both / seen.total), max(alone, key=lambda one: one.share)
    return next((one for one in found if one.share > SHARE), None)
