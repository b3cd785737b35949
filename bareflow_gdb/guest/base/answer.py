"""What does a question give: its record, where that was read from, and what it cannot tell?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from bareflow_gdb.guest.base.values import Address

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Located:
    """Where a record is, how it was found, and how sure that is."""

    what: str
    address: Address
    how: str
    """"root descriptor", "symbol", "argument", "search of the stack", "search of the kernel's data"."""
    confidence: str
    """"certain", "likely", "told" (an argument that points to a record not filled yet)."""
    evidence: str


@dataclass(frozen=True)
class Answer(Generic[R_co]):
    """A record with its provenance, which is empty for kernels with a root descriptor."""

    record: R_co
    found: tuple[Located, ...] = ()
    """The records that it was read from."""
    unknown: tuple[str, ...] = ()
    """What it cannot tell, as sentences."""

    def lines(self) -> list[str]:
        """The provenance in words, for people."""
        found = [
            f"(the {item.what} is at 0x{item.address:08x}, by {item.how}, {item.confidence}: {item.evidence})"
            for item in self.found
        ]
        return [*found, *(f"(not known: {text})" for text in self.unknown)]
