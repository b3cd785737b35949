"""How does a question become a `bf` command: addresses as expressions, the session's guest and machine?"""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import printable
from bareflow_gdb.gdb_ui import show
from bareflow_gdb.gdb_ui.command import REGISTRY, Command
from bareflow_gdb.gdb_ui.completers import COMPLETERS
from bareflow_gdb.gdb_ui.expression import evaluate
from bareflow_gdb.guest.base.values import TooWide
from bareflow_gdb.questions import registry
from bareflow_gdb.questions.question import ADDRESS, NAME_OR_ADDRESS, Argument, Context, Question

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.base.answer import Answer
    from bareflow_gdb.guest.guest import Guest


class SessionContext(Context):
    """A question's way to the guest of gdb's connection."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.machine = session.machine
        self.serial_file = session.machine.serial_path if session.machine is not None else None

    @property
    def guest(self) -> Guest:
        return self.session.guest

    def symbol(self, address: int) -> str:
        pointer = gdb.Value(address).cast(gdb.lookup_type("void").pointer())
        text = str(pointer.format_string(symbols=True))
        start, end = text.find("<"), text.rfind(">")
        return printable(text[start + 1 : end]) if start >= 0 else ""

    def bits(self) -> int:
        """By CR0.PE of the stopped guest; 32 when it runs or has no registers that say so."""
        if self.session.running:
            return 32
        with contextlib.suppress(gdb.error, ValueError):
            return 32 if int(gdb.newest_frame().read_register("cr0")) & 1 else 16
        return 32


def register() -> None:
    """Makes every question a command."""
    for question in registry.every():
        REGISTRY[question.name] = _command(question)


def _command(question: Question[Any]) -> Command:
    def run(options: argparse.Namespace, session: Session) -> Answer[Any]:
        session.require()
        for item in question.arguments:
            _resolve(item, options, session)
        answer = question.answer(SessionContext(session), options)
        # What could not be read is noted in an answer, but not that the connection broke under it.
        session.require()
        return answer

    return Command(
        name=question.name,
        summary=f"{question.help[0].upper()}{question.help[1:]}",
        details=question.details,
        example=f"bf {question.example}",
        arguments=tuple(map(_spread, question.arguments)),
        run=run,
        show=lambda record: question.text(record, show.width(), show.colored()),
        verdict=question.verdict,
    )


def _spread(item: Argument) -> Argument:
    """An address may be an expression of several words."""
    if not item.kind or item.is_option:
        return item
    text = f"{item.keywords['help']}; in gdb also registers, symbols and arithmetic"
    return replace(item, keywords={**item.keywords, "nargs": "+", "help": text})


def _resolve(item: Argument, options: argparse.Namespace, session: Session) -> None:
    """Turns the words of an address into its value, or leaves the name that they are."""
    given = getattr(options, item.dest)
    if not item.kind or given is None:
        return
    text = given if isinstance(given, str) else " ".join(given)
    value: str | int = text
    if item.kind == ADDRESS:
        value = evaluate(text)
    elif item.kind == NAME_OR_ADDRESS and not _is_name(text, item, session):
        try:
            value = evaluate(text)
        except TooWide:
            raise
        except UsageError:
            # What is neither is left to the question, which knows what there is.
            pass
    setattr(options, item.dest, value)


def _is_name(text: str, item: Argument, session: Session) -> bool:
    """Does it begin with a name of the guest, as primes or primes@O2 do?"""
    name = text.removeprefix("jit:").partition("@")[0].partition("#")[0].strip()
    try:
        return name in COMPLETERS[item.names](session)
    except BareflowError:
        return False
