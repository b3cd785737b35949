"""Which names does a word of a command complete to? Each reads the guest, or knows the machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bareflow_gdb.foreign import is_plain
from bareflow_gdb.questions.question import FILES, FUNCTIONS, MODULES

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

MACHINES, JIT_CODE = "machines", "JIT code"


def _functions(session: Session) -> Iterable[str]:
    return session.guest.kernel().slots()


def _modules(session: Session) -> Iterable[str]:
    return (module.name for module in session.guest.kernel().modules().modules)


def _files(session: Session) -> Iterable[str]:
    volume = session.guest.kernel().disk().volume
    return (file.name for file in volume.files) if volume is not None else ()


def _machines(session: Session) -> Iterable[str]:  # noqa: ARG001 - as all completers
    from bareflow_gdb.qemu.machine import Machine

    return (machine.name for machine in Machine.all())


COMPLETERS: dict[str, Callable[[Session], Iterable[str]]] = {
    FUNCTIONS: _functions,
    MODULES: _modules,
    FILES: _files,
    MACHINES: _machines,
    JIT_CODE: _functions,
}
"""All names of a kind."""

_TIERS = ("", "@O0", "@O1", "@O2", "@O3")


def offered(kind: str, session: Session) -> list[str]:
    """What a word of this kind completes to: only what comes back as it is when the line is executed."""
    names = filter(is_plain, COMPLETERS[kind](session))
    return [f"jit:{name}{tier}" for name in names for tier in _TIERS] if kind == JIT_CODE else list(names)
