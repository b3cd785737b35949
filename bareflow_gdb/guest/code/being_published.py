"""What are the moments of a swap called, above all that at which the code pointer is stored and its records are not?

Apart from what finds it, because everything that shows it needs the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.guest.base.values import Address

BEING_PUBLISHED = "being published"
"""The name of that moment, wherever it is shown."""


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A swap that the guest has begun and not ended, by the guest's own word."""

    function: str
    phase: str
    """As people write it: "about to publish"."""
    from_level: int | None
    """None = the new version is published, so that it is the function's level already."""
    to_level: int

    def __str__(self) -> str:
        """`primes O1 → O2: copied`."""
        before = "" if self.from_level is None else f"O{self.from_level} "
        return f"{self.function} {before}→ O{self.to_level}: {self.phase}"


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """A swap between its publishing store and the records of it."""

    function: str
    from_level: int
    to_level: int
    version: int | None = None
    """None = the kernel does not number its versions."""
    old_code: Address
    new_code: Address

    def __str__(self) -> str:
        """`primes O1 → O2`."""
        return f"{self.function} O{self.from_level} → O{self.to_level}"
