"""What is a fault? Something that is broken on purpose, at a moment that chance chooses, and what must hold then."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import ClassVar

from soak.place import Place


class Fault(ABC):
    """One way in which things break. A campaign makes one of each, and asks it for many rounds."""

    name: ClassVar[str]
    """As the table and FAULT name it."""
    broken: ClassVar[str]
    """What is done, in a line."""
    holds: ClassVar[str]
    """What is checked afterwards, in a line."""
    cheap: ClassVar[bool] = False
    """One round takes a second or two: `make test` runs it once."""
    weight: ClassVar[int] = 4
    """How often it comes, beside the others."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.kept = ExitStack()
        """What lives from round to round."""

    @property
    def missing(self) -> str:
        """Why it cannot be made to happen here, with what helps; "" = it can."""
        return ""

    @abstractmethod
    def once(self, chance: random.Random) -> str:
        """Breaks it once; returns what was lost, "" for nothing.

        Raises AssertionError when something does not hold; whatever else is raised counts as that, too.
        """

    def close(self) -> None:
        """Ends what lives from round to round."""
        self.kept.close()
