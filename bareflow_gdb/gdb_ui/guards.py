"""Which commands make sense now? A guard is one condition with one sentence, a decorator of the command."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.command import Run
    from bareflow_gdb.gdb_ui.session import Session


def _guard(check: Callable[[Session], None]) -> Callable[[Run], Run]:
    def decorate(run: Run) -> Run:
        @functools.wraps(run)
        def guarded(options: argparse.Namespace, session: Session) -> Any:
            check(session)
            return run(options, session)

        return guarded

    return decorate


def _with_guest(session: Session) -> None:
    session.require()


def _when_stopped(session: Session) -> None:
    session.require()
    if session.connection is not None and session.connection.type == "core":
        raise UsageError("a core does not run; this needs a live guest")
    if session.running:
        raise UsageError("the guest runs; stop it first with `interrupt`, then ask again")


def _with_machine(session: Session) -> None:
    from bareflow_gdb.gdb_ui.session import require_machine

    require_machine(session, "this")


only_with_guest = _guard(_with_guest)
only_when_stopped = _guard(_when_stopped)
only_with_machine = _guard(_with_machine)
