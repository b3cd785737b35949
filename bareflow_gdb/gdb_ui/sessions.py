"""Which session belongs to which of gdb's connections, and when does it end?

Event handlers here only mark: whatever was read is dropped by the next command that asks, so a stop costs no
packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gdb

from bareflow_gdb.gdb_ui import hooks
from bareflow_gdb.gdb_ui.breakpoints import Followers
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.memory.inferior import InferiorMemory


class MonitoredFunction(gdb.Function):
    """What was read is dropped after a command to QEMU's monitor; for the suite's own use."""

    def __init__(self, monitored: Callable[[], None]) -> None:
        super().__init__("_bf_monitored")
        self._monitored = monitored

    def invoke(self) -> bool:
        self._monitored()
        return False


def _read_registers_anew() -> None:
    """gdb keeps registers until the guest runs; `loadvm` and `system_reset` change them. The selected frame stays."""
    try:
        level, before = gdb.selected_frame().level(), _place(gdb.newest_frame())
        gdb.execute("maintenance flush register-cache", to_string=True)
        frame: gdb.Frame | None = gdb.newest_frame()
        if level and frame is not None and _place(frame) == before:
            for _ in range(level):
                frame = frame.older() if frame is not None else None
            if frame is not None:
                frame.select()
    except gdb.error:
        return  # it runs, or there is no guest


def _place(frame: gdb.Frame) -> tuple[int, int]:
    return frame.pc(), int(frame.read_register("sp"))


class Sessions:
    """The plug-in's one state: a session for each connection of gdb."""

    def __init__(self) -> None:
        self._unconnected = Session(None, Followers())
        self._open: list[Session] = []
        self._gone: list[Session] = []

    def _handlers(self) -> Iterator[tuple[Any, Callable[..., None]]]:
        for name in ("stop", "cont", "exited", "new_objfile", "memory_changed"):
            yield getattr(gdb.events, name), self._stale
        yield gdb.events.connection_removed, self._disconnected
        yield gdb.events.gdb_exiting, self._exiting
        yield gdb.events.new_thread, self._connected
        yield gdb.events.before_prompt, self._tidy

    def connect(self) -> None:
        """Hooks up what makes answers stale and sessions end."""
        for event, handler in self._handlers():
            event.connect(handler)

    def disconnect(self) -> None:
        """Unhooks it and forgets the sessions."""
        for event, handler in self._handlers():
            event.disconnect(handler)
        self._gone += self._open
        self._open = []
        self._forget_gone()

    def current(self) -> Session:
        """The session of the selected inferior's connection; a new one when there is none yet."""
        self._forget_gone()
        session = self.peek()
        if session is self._unconnected:
            connection = gdb.selected_inferior().connection
            if connection is None:
                return session
            session = Session(connection, Followers())
            self._open.append(session)
            hooks.define()
        session.refresh_if_stale()
        return session

    def peek(self) -> Session:
        """The same session as it was left by its last command; for what runs at a stop."""
        connection = gdb.selected_inferior().connection
        return next((item for item in self._open if item.connection is connection), self._unconnected)

    def _forget_gone(self) -> None:
        while self._gone:
            self._gone.pop().forget()

    def monitored(self) -> None:
        """QEMU's monitor was given a command, which may have changed anything; by the suite, it has not."""
        if not InferiorMemory.asking:
            self._stale(None)
            _read_registers_anew()

    def _stale(self, event: Any) -> None:  # noqa: ARG002 - gdb's signature
        for session in self._open:
            session.stale()

    def _connected(self, event: Any) -> None:  # noqa: ARG002 - gdb's signature
        # A script may give no command of the suite before its first stop, and has no prompt.
        if not self._open and isinstance(gdb.selected_inferior().connection, gdb.RemoteTargetConnection):
            hooks.define()

    def _tidy(self) -> None:
        for session in self._open:
            session.followers.tidy()
            if session is self.peek():
                session.look_again()

    def _disconnected(self, event: gdb.ConnectionEvent) -> None:
        ended = [session for session in self._open if session.connection is event.connection]
        self._gone += ended
        self._open = [session for session in self._open if session not in ended]

    def _exiting(self, event: Any) -> None:  # noqa: ARG002 - gdb's signature
        for session in (*self._gone, *self._open):
            session.end_recording()
        # gdb refuses to detach from a guest that runs, and says so; closing the connection lets it run on.
        session = self.peek()
        if session.left_running and session.running:
            gdb.execute("disconnect", to_string=True)
