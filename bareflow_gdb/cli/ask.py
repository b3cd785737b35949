"""How does a question become a verb: its words, its TARGET, its answer on stdout?

The record goes to stdout, as a table or as JSON; where it came from goes to stderr, so that the answers of a guest,
its core and its trace can be compared.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bareflow_gdb import foreign
from bareflow_gdb.cli.arguments import ELF_HELP, add_target, address, name_or_address
from bareflow_gdb.cli.completers import COMPLETERS, completed
from bareflow_gdb.errors import UsageError
from bareflow_gdb.questions.question import ADDRESS, NAME_OR_ADDRESS, Argument, Context, Question
from bareflow_gdb.render.text import WIDTH, wants_colour

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.guest.base.answer import Answer
    from bareflow_gdb.guest.guest import Guest

R = TypeVar("R")

_TYPES = {ADDRESS: address, NAME_OR_ADDRESS: name_or_address}


class TargetContext(Context):
    """A question's way to the target of a command line."""

    def __init__(self, target: Target, elf: Path | None = None) -> None:
        self.target = target
        self.elf = elf
        self.machine = target.machine
        self.trace = target.trace
        self.disk_image = target.path if target.kind == "disk" else None
        if target.kind == "serial":
            self.serial_file = target.path
        elif target.kind == "trace" and target.path is not None:
            self.serial_file = target.path / "serial.log"
        elif target.machine is not None:
            self.serial_file = target.machine.serial_path
        else:
            # Of a QEMU that others started its command line tells.
            self.serial_file = getattr(target.source, "serial_path", None)

    @cached_property
    def guest(self) -> Guest:
        from bareflow_gdb.guest.guest import Guest

        given = () if self.elf is None else (self.elf,)
        guest = Guest.attach(self.target.memory, elves=lambda: given, guesses=self._guesses, say=_say)
        guest.serial_log = self._printed() if self.machine is None else self.machine.serial
        return guest

    def _guesses(self, build_id: str) -> Iterable[Path]:
        """When none was given, the kernel's ELF may lie beside the machine's image, the core, or what was built."""
        from bareflow_gdb.guest.names.elf import beside, with_build_id
        from bareflow_gdb.qemu.default import default_image

        if self.elf is not None:
            return ()
        if self.target.kind == "kernel" and self.target.path is not None:
            return (self.target.path,)
        if self.machine is not None:
            return beside(self.machine.image)
        if self.target.kind not in ("core", "dump") or self.target.path is None or not build_id:
            return ()
        folders = dict.fromkeys((self.target.path.parent, default_image().parent))
        return [elf for folder in folders for elf in with_build_id(folder, build_id)]

    def source(self, answer: Answer[Any]) -> str:
        """Where an answer came from, how what it is about was found, and what it cannot tell."""
        where = self.target.description
        guest = self.__dict__.get("guest")
        if guest is None:
            return f"({where})"
        if answer.found:
            return "\n".join((f"({where}, a kernel without debug interface)", *answer.lines()))
        root = f"root descriptor found by {guest.found_by}" if guest.found_by else "no root descriptor found"
        return "\n".join((f"({where}, {root})", *answer.lines()))


def configure(question: Question[Any], parser: argparse.ArgumentParser) -> None:
    """Gives a verb's parser the words of a question, TARGET and --elf after them."""
    for item in question.arguments:
        keywords = dict(item.keywords)
        if item.kind:
            keywords["type"] = _TYPES[item.kind]
        if not item.is_option and keywords.get("nargs") == "?":
            # Which of the optional words were given is seen when all of them are there: `pools demo`.
            keywords.pop("choices", None)
        action = parser.add_argument(*item.flags, **keywords)
        if item.names:
            completed(action, COMPLETERS[item.names])
        elif "choices" in item.keywords and not action.choices:
            completed(action, lambda item=item, **_: list(item.keywords["choices"]))
    add_target(parser, dumps=True)
    parser.add_argument("--elf", type=Path, metavar="FILE", help=ELF_HELP)
    parser.description = f"{question.help[0].upper()}{question.help[1:]}. {question.details}".rstrip()
    no = f"Exit code 1 when {question.no}. " if question.no else ""
    parser.epilog = f"{no}Example: bareflow {question.example}"


def main(question: Question[R], options: argparse.Namespace) -> int:
    """Prints the answer; returns 0, or 1 when it is "no" or has findings."""
    from bareflow_gdb.cli.targets import asked_target

    place_words(question, options)
    return asked_at(asked_target(options, question.file_kind), question, options)


def asked_at(target: Target, question: Question[R], options: argparse.Namespace) -> int:
    """The same of a target that is open: a gdbstub has one connection, and would not answer a second one."""
    if question.of_kernel_files and target.source is None:
        from bareflow_gdb.cli.kernel_file import as_loaded

        target = as_loaded(target)
    return asked_of(TargetContext(target, options.elf), question, options)


def asked_of(context: TargetContext, question: Question[R], options: argparse.Namespace) -> int:
    """The same of a target that has been found."""
    answer = question.answer(context, options)
    print_answer(question, options, answer, context.source(answer))
    if question.name == "status" and context.machine is not None:
        from bareflow_gdb.guest.boot.wait import still

        if why := still(context.machine):
            _say(why)
    return 0 if question.says_yes(answer.record) else 1


def place_words(question: Question[Any], options: argparse.Namespace) -> None:
    """Gives each optional word to the first argument that takes it, the rest to TARGET. Raises UsageError."""
    optional = [i for i in question.arguments if not i.is_option and i.keywords.get("nargs") == "?"]
    words = [getattr(options, item.dest) for item in optional]
    words = [word for word, item in zip(words, optional, strict=True) if word != item.keywords.get("default")]
    words += [options.target]
    given = [word for word in words if word is not None]
    for item in (*optional, Argument(("target",), {})):
        setattr(options, item.dest, item.keywords.get("default"))
        if given and item.takes(given[0], options):
            setattr(options, item.dest, given.pop(0))
    if given:
        raise UsageError(f"{given[0]!r} is one word too many; see `bareflow {question.name} --help`")


def print_answer(question: Question[R], options: argparse.Namespace, answer: Answer[R], source: str) -> None:
    """Prints a record as a table or as JSON, and where it came from."""
    if options.json:
        from bareflow_gdb.render.jsonable import dumps_answer

        print(dumps_answer(answer))
        return
    colour = wants_colour(sys.stdout)
    width = shutil.get_terminal_size((WIDTH, 40)).columns if colour else WIDTH
    print(question.text(answer.record, width, colour))
    print(source, file=sys.stderr)


def _say(sentence: str) -> None:
    print(f"bareflow: {foreign.sentence(sentence)}", file=sys.stderr)
