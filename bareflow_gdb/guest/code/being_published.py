"""What is the moment called at which a code pointer is stored and the kernel's records of it are not?

Apart from what finds it, because everything that shows it needs the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.guest.base.values import Address

BEING_PUBLISHED = "being published"
"""The name of that moment, wherever it is shown."""


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
