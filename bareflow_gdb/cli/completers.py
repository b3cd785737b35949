"""Which words does a shell complete that only a machine knows: its name, its functions, modules and files?"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.foreign import is_plain
from bareflow_gdb.questions.question import NAMES

if TYPE_CHECKING:
    from bareflow_gdb.guest.kernel import Kernel

Completer = Callable[..., list[str]]


def machines(**_: Any) -> list[str]:
    """The names of the running machines."""
    from bareflow_gdb.qemu.machine import Machine

    return [machine.name for machine in Machine.all()]


def targets(prefix: str, **_: Any) -> list[str]:
    """Machines, and files, which a core, a dump or a trace may be."""
    from argcomplete.completers import FilesCompleter

    return [*machines(), *FilesCompleter()(prefix)]


def completed(action: argparse.Action, completer: Completer) -> None:
    """Has a shell complete an argument's values."""
    action.completer = completer  # type: ignore[attr-defined]


def _of_newest_machine(read: Callable[[Kernel], Iterable[str]]) -> Completer:
    """Names of the newest machine's kernel that a shell takes as they are; none when it cannot be asked."""

    def complete(**_: Any) -> list[str]:
        from bareflow_gdb.guest.guest import Guest
        from bareflow_gdb.qemu.machine import Machine

        try:
            return list(filter(is_plain, read(Guest.attach(Machine.find(None).memory()).kernel())))
        except BareflowError:
            return []

    return complete


COMPLETERS: dict[str, Completer] = {kind: _of_newest_machine(read) for kind, read in NAMES.items()}
