"""Readers with the faults that are looked for: does the harness see them? Of no campaign."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from random import Random

from fuzz.target import Target


class _Faulty(Target):
    share, round = 0, 1

    def inputs(self, chance: Random) -> Iterator[str]:  # noqa: ARG002 - the same each time
        (self.folder / "bytes").write_text(self.name)
        yield "words"

    def ask(self, folder: Path, words: str) -> str:  # noqa: ARG002 - whatever is asked
        return self.fault()

    @abstractmethod
    def fault(self) -> str:
        """What goes wrong."""


class Crashes(_Faulty):
    name = "faulty: crash"

    def fault(self) -> str:
        raise ZeroDivisionError


class Controls(_Faulty):
    name = "faulty: control"

    def fault(self) -> str:
        return "\x1b[31m"


class Grows(_Faulty):
    name = "faulty: large"

    def fault(self) -> str:
        return str(len(b"x" * (700 << 20)))


class Ends(_Faulty):
    name = "faulty: ends"

    def fault(self) -> str:
        os._exit(3)


class Hangs(_Faulty):
    name = "faulty: hangs"

    def fault(self) -> str:
        time.sleep(1000)
        return ""
