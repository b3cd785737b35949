"""What is asked of the worker that runs old and new code, and what does it answer? Both cross a pipe as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

BLOCK = 1 << 16
"""Bytes in which the emulator takes guest memory."""
Span = tuple[int, int]
"""Addresses [start, end)."""

MOST_INPUTS = 256
WORDS = 400
"""Characters of a sentence that is taken from the worker."""


@dataclass(frozen=True)
class Code:
    """One version of a function: where it begins, and where its code and read-only data lie."""

    entry: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Trial:
    """The comparison of two versions. The new one's bytes travel beside it, code first."""

    old: Code
    new: Code
    code_size: int
    code_address: int
    rodata_address: int
    ranges: tuple[Span, ...]
    """What of the guest's memory was copied."""
    inputs: tuple[tuple[int, int], ...]
    """In the order in which they are tried."""
    required: int
    """So many of them are tried however long it takes."""
    results_count: bool
    """Other results refuse the new code; without it only what breaks its caller does."""
    symbols: tuple[tuple[str, int, int], ...]
    """Name, address and size of the data that the versions share."""

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Trial:
        """The same again."""

        def code(fields: Mapping[str, Any]) -> Code:
            return Code(fields["entry"], tuple((start, end) for start, end in fields["spans"]))

        return cls(
            **{
                **record,
                "old": code(record["old"]),
                "new": code(record["new"]),
                "ranges": tuple((start, end) for start, end in record["ranges"]),
                "inputs": tuple((a, b) for a, b in record["inputs"]),
                "symbols": tuple((name, address, size) for name, address, size in record["symbols"]),
            }
        )


@dataclass(frozen=True)
class Verdict:
    """What came of a trial."""

    compared: int
    """Inputs with which both versions were run to their end."""
    difference: str = ""
    """What differs, and with which input, as a sentence; the smallest that was found."""
    breaks_caller: bool = False
    """The difference is none of results: the new code damages its caller, or does not return."""
    not_run: str = ""
    """Why no input, or this one of those that were left out, could be compared."""
    milliseconds: float = 0.0
    ran: tuple[int, ...] = ()
    """Which of the inputs, by their place, were compared."""
    written: tuple[int, ...] = ()
    """Blocks of memory that a call wrote to."""

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Verdict:
        """From a worker that may say anything; raises KeyError, TypeError, ValueError, OverflowError."""
        spent = float(record["milliseconds"])
        if not math.isfinite(spent):
            raise ValueError(f"{spent} ms")
        return cls(
            compared=int(record["compared"]),
            difference=str(record["difference"])[:WORDS],
            breaks_caller=bool(record["breaks_caller"]),
            not_run=str(record["not_run"])[:WORDS],
            milliseconds=spent,
            ran=tuple(int(number) for number in record["ran"][:MOST_INPUTS]),
            written=tuple(int(address) for address in record["written"][:MOST_INPUTS]),
        )


def same_word(trial: Trial, old: int, new: int) -> bool:
    """Also when both are addresses in the versions themselves: their code and constants lie in different places."""
    return old == new or (_inside(old, trial.old.spans) and _inside(new, trial.new.spans))


def named(trial: Trial, address: int) -> str:
    """Where that is: `in sum_calls`, or the address."""
    for name, start, size in trial.symbols:
        if start <= address < start + size:
            return f"in {name}+0x{address - start:x}" if address > start else f"in {name}"
    return f"at 0x{address:08x}"


def signed(value: int) -> int:
    """A word as the function's type has it."""
    return value - (1 << 32) if value >> 31 else value


def _inside(address: int, spans: Sequence[Span]) -> bool:
    return any(start <= address < end for start, end in spans)
