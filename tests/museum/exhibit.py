"""What is an exhibit? A defect in one variant of the kernel, made at one of two places, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

OURS, STOCK = "debug interface", "stock"
PLACES = (0, 1)
"""The one a defect was developed with, and another."""

T = TypeVar("T")


@dataclass(frozen=True)
class Exhibit(Generic[T]):
    """`make` puts the defect into what is given: a copy of a guest's memory, or a folder with images."""

    row: str
    """Of the table of what went wrong in real kernels; "" = one of the others."""
    defect: str
    variant: str
    says: str
    """A pattern for a cause that is told, what and evidence."""
    make: Callable[[T, int], object]


class Wing(list[Exhibit[T]]):
    """The exhibits of one kind."""

    def add(self, row: str, defect: str, variant: str, says: str) -> Callable[[Callable[[T, int], object]], None]:
        """Decorates what makes it."""

        def kept(make: Callable[[T, int], object]) -> None:
            self.append(Exhibit(row, defect, variant, says, make))

        return kept
