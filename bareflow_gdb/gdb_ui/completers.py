"""Which names does a word of a command complete to? Each reads the guest, or knows the machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bareflow_gdb.foreign import is_plain
from bareflow_gdb.questions.question import FUNCTIONS, NAMES

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

MACHINES, JIT_CODE = "machines", "JIT code"


def _machines(session: Session) -> Iterable[str]:  # noqa: ARG001 - as all completers
    from bareflow_gdb.qemu.machine import Machine

    return (machine.name for machine in Machine.all())


COMPLETERS: dict[str, Callable[[Session], Iterable[str]]] = {
    **{kind: lambda session, read=read: read(session.guest.kernel()) for kind, read in NAMES.items()},  # type: ignore[misc]
    MACHINES: _machines,
    JIT_CODE: lambda session: NAMES[FUNCTIONS](session.guest.kernel()),
}
"""All names of a kind."""

_TIERS = ("", "@O0", "@O1", "@O2", "@O3")


def offered(kind: str, session: Session) -> list[str]:
    """What a word of this kind completes to: only what comes back as it is when the line is executed."""
    names = filter(is_plain, COMPLETERS[kind](session))
    return [f"jit:{name}{tier}" for name in names for tier in _TIERS] if kind == JIT_CODE else list(names)
