"""What is a fault of a swap, and how is one written down?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swap_tables import SwapTables

from bareflow_gdb.guest.code.functions import Version

NAME = "primes"
"""The function that most faults are of."""
FRAME, END = b"\x55\x89\xe5", b"\x5d\xc3"
"""push ebp; mov ebp, esp … pop ebp; ret"""

Inject = Callable[[SwapTables], None]


@dataclass(frozen=True)
class Fault:
    """`detectors`: the checks that must find it; others may, too."""

    name: str
    detectors: tuple[str, ...]
    inject: Inject


class Faults(list[Fault]):
    """The faults of one file."""

    def of(self, name: str, *detectors: str) -> Callable[[Inject], Inject]:
        """Decorates what injects it."""

        def add(inject: Inject) -> Inject:
            self.append(Fault(name, detectors, inject))
            return inject

        return add

    def code(self, name: str, body: bytes, *detectors: str, whole: bool = False) -> None:
        """A fault of the code that a compiler made: it is emitted and recorded as it should be."""

        def inject(tables: SwapTables) -> None:
            tables.emit(published(tables), body if whole else FRAME + body + END)

        self.append(Fault(name, detectors, inject))


def published(tables: SwapTables) -> Version:
    return tables.version(NAME, 3)


def replaced(tables: SwapTables) -> Version:
    return tables.version(NAME, 2)
