"""Which names does a word of a command complete to? Each reads the guest, or knows the machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import NAMES

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

MACHINES, JIT_CODE = "machines", "JIT code"


def _machines(session: Session) -> Iterable[str]:  # noqa: ARG001 - as all completers
    from bareflow_gdb.qemu.machine import Machine

    return (machine.name for machine in Machine.all())


def _jit_code(session: Session) -> Iterable[str]:
    tiers = ("", *(f"@O{tier}" for tier in range(4)))
    return (f"jit:{name}{tier}" for name in session.guest.kernel().slots() for tier in tiers)


COMPLETERS: dict[str, Callable[[Session], Iterable[str]]] = {
    **{kind: lambda session, read=read: read(session.guest.kernel()) for kind, read in NAMES.items()},  # type: ignore[misc]
    MACHINES: _machines,
    JIT_CODE: _jit_code,
}
