"""What is a question, before anybody knows whether it is asked in gdb or in a shell?

A question names its arguments, says what it needs, asks a kernel (or a machine, or a trace) for a record, makes a
view of the record, and gives a verdict: is the answer "no", or are there findings? The interfaces do the rest.
"""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bareflow_gdb.foreign import styled
from bareflow_gdb.guest.base.answer import Answer
from bareflow_gdb.render.text import WIDTH, show
from bareflow_gdb.render.view import View

if TYPE_CHECKING:
    from bareflow_gdb.checks.subject import Subject
    from bareflow_gdb.guest.boot.watch import Watched
    from bareflow_gdb.guest.guest import Guest
    from bareflow_gdb.guest.kernel import Kernel
    from bareflow_gdb.qemu.machine import Machine

R = TypeVar("R")

Options = argparse.Namespace

ADDRESS, NAME_OR_ADDRESS = "address", "name or address"
FUNCTIONS, MODULES, FILES, TENSORS = "functions", "modules", "files", "tensors"
NAMES: dict[str, Callable[[Kernel], Iterable[str]]] = {
    FUNCTIONS: lambda kernel: kernel.slots(),
    MODULES: lambda kernel: [module.name for module in kernel.modules().modules],
    FILES: lambda kernel: [file.name for file in getattr(kernel.disk().volume, "files", ())],
    TENSORS: lambda kernel: kernel.tensors(),
}
"""Which names a guest knows of each kind."""

MEMORY, KERNEL, ROOT, MACHINE, TRACE = "memory", "kernel", "root", "machine", "trace"
"""What a question asks: guest memory, a kernel in it, the kernel's root descriptor; QEMU or its files, a trace's
events. Where it asks several, it takes what is there."""


@dataclass(frozen=True)
class Argument:
    """One argument: what argparse wants to know, and what the interfaces add to it.

    kind: ADDRESS is a number in a shell, in gdb also registers, symbols and arithmetic; NAME_OR_ADDRESS a name
    before that.
    names: what is completed: FUNCTIONS, MODULES, FILES or TENSORS of the guest. of: the value of another argument, as
    ("action", "cat"), without which this one does not take a word.
    """

    flags: tuple[str, ...]
    keywords: dict[str, Any]
    kind: str = ""
    names: str = ""
    of: tuple[str, str] | None = None

    @property
    def is_option(self) -> bool:
        """Does it begin with a dash?"""
        return self.flags[0].startswith("-")

    @property
    def dest(self) -> str:
        """The attribute that holds its value."""
        return str(self.keywords.get("dest") or self.flags[0].lstrip("-").replace("-", "_"))

    @property
    def usage(self) -> str:
        """As it stands in a line of usage."""
        if not self.is_option:
            name = str(self.keywords.get("metavar", self.flags[0].upper()))
            return f"[{name}]" if self.keywords.get("nargs") == "?" else name
        if self.keywords.get("action") in ("store_true", "store_false"):
            return f"[{self.flags[0]}]"
        choices = self.keywords.get("choices")
        value = "|".join(map(str, choices)) if choices else self.keywords.get("metavar", "N")
        return f"[{self.flags[0]} {' '.join(value) if isinstance(value, tuple) else value}]"

    def takes(self, word: str, options: Options) -> bool:
        """May this word be its value, after what was taken before?"""
        if self.of is not None and getattr(options, self.of[0]) != self.of[1]:
            return False
        return word in self.keywords.get("choices", (word,))


def argument(
    *flags: str, kind: str = "", names: str = "", of: tuple[str, str] | None = None, **keywords: Any
) -> Argument:
    """An argument in argparse's own words."""
    return Argument(flags, keywords, kind, names, of)


class Context(ABC):
    """What the interface that asks can offer; a new one for each question."""

    machine: Machine | None = None
    """The machine of `bareflow run` that is asked."""
    trace: Any = None
    """The trace that is asked."""
    serial_file: Path | None = None
    """Where COM1 was written to."""
    disk_image: Path | None = None
    """The disk image that is asked, when nothing else is."""
    module_disk: Path | None = None
    """The image of a module disk, when that alone is asked what is wrong."""
    watched: Watched | None = None
    """How the guest's start went, when somebody looked on."""

    @property
    @abstractmethod
    def guest(self) -> Guest:
        """Raises BareflowError when there is none."""

    def subject(self) -> Subject:
        """What checks look at: this guest, and what is kept outside of it."""
        from bareflow_gdb.checks.subject import Subject

        return Subject(
            lambda: self.guest.kernel(),
            machine=self.machine,
            serial=self._printed(),
            trace=self.trace,
            watched=self.watched,
            disk=self.module_disk,
        )

    def _printed(self) -> Callable[[], str] | None:
        path = self.serial_file
        if path is None or not path.is_file():
            return None
        from bareflow_gdb.guest.machine.serial import read_serial_file

        return lambda: read_serial_file(path, None).text

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel, for this question. Raises BareflowError."""
        return self.guest.kernel()

    def symbol(self, address: int) -> str:  # noqa: ARG002 - a shell knows none
        """What a debugger's own symbols call an address: `main+12`; "" = nothing."""
        return ""

    def bits(self) -> int:
        """Is the CPU's code of this moment of 16 or 32 bits?"""
        return 32


@dataclass(frozen=True)
class Question(Generic[R]):
    """`ask` gives a record; `view` or `draw` shows it; `verdict` is False when the answer is "no"."""

    name: str
    help: str
    """One line, without a full stop."""
    example: str
    """Without `bf` or `bareflow` before it."""
    ask: Callable[[Context, Options], R]
    view: Callable[[R], View] | None = None
    draw: Callable[[R, int, bool], str] | None = None
    """Instead of a view: the text for a width, with or without colour."""
    arguments: tuple[Argument, ...] = ()
    needs: tuple[str, ...] = (KERNEL,)
    details: str = ""
    """More of the help text, as sentences."""
    verdict: Callable[[R], bool] | None = None
    no: str = ""
    """When that is: "Exit code 1 when …"."""
    of_kernel_files: bool = False
    """In a shell also of a stock kernel's ELF, binary or boot disk, of which nothing has run."""
    file_kind: str = ""
    """What a file is that holds no guest memory, as the user sees it who asks this of it: "serial", "disk"."""

    def answer(self, context: Context, options: Options) -> Answer[R]:
        """The record and where it comes from. Raises BareflowError."""
        record = self.ask(context, options)
        kernel = context.__dict__.get("kernel")
        return Answer(record) if kernel is None else kernel.answered(record)

    def text(self, record: R, width: int = WIDTH, color: bool = False) -> str:
        """The record for people, no newline at the end."""
        if self.draw is not None:
            return styled(self.draw(record, width, color))
        assert self.view is not None
        return show(self.view(record), width, color)

    def says_yes(self, record: R) -> bool:
        """The verdict; questions without one are always answered."""
        return self.verdict is None or self.verdict(record)
