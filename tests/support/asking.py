"""How does a test put a question to a guest, without a shell or gdb? As the interfaces do, by the registry."""

from __future__ import annotations

import argparse
import re
from typing import Any

from bareflow_gdb.guest.base.answer import Answer
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.questions import registry
from bareflow_gdb.questions.question import Context, Question

TABLES = ("status", "boot", "modules", "pools", "profile", "jit", "swaps")
"""Questions whose answers are tables of the kernel as wholes."""

FALSE_OF_STOCK = re.compile(
    "had no room|is not a free block|0xf000578b|0x89000900|is this kernel's ELF|of its levels"
    r"|fragmentation statistic is [\d,]+ percent"
)
"""What was once said of stock kernels of the field, and is true of none."""


class GuestContext(Context):
    """Nothing but a guest."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest

    @property
    def guest(self) -> Guest:
        return self._guest


def options_of(question: Question[Any], **given: object) -> argparse.Namespace:
    """The options of a question: their defaults, and what is given."""
    options = argparse.Namespace()
    for item in question.arguments:
        default = False if item.keywords.get("action") == "store_true" else item.keywords.get("default")
        setattr(options, item.dest, given.pop(item.dest, default))
    assert not given, f"{question.name} has no argument {', '.join(given)}"
    return options


def ask(guest: Guest, name: str, **given: object) -> Answer[Any]:
    """The answer with its provenance."""
    question = registry.load(name)
    return question.answer(GuestContext(guest), options_of(question, **given))


def record_of(guest: Guest, name: str, **given: object) -> Any:
    """The answer's record alone."""
    return ask(guest, name, **given).record


def text_of(name: str, record: Any, width: int = 140, color: bool = False) -> str:
    """How a record of that question is shown."""
    return registry.load(name).text(record, width, color)
