"""What is asked of the worker that runs old and new code, and what does it answer? Both cross a pipe as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Verdict:
        """From a worker that may say anything; raises KeyError, TypeError, ValueError."""
        return cls(
            compared=int(record["compared"]),
            difference=str(record["difference"])[:WORDS],
            breaks_caller=bool(record["breaks_caller"]),
            not_run=str(record["not_run"])[:WORDS],
            milliseconds=float(record["milliseconds"]),
        )
