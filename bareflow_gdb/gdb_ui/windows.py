"""What do the TUI windows `swaps`, `profile` and `pools` show, and when are they read again?

When opened and by `bf refresh`; at a stop only where QEMU's RAM is read from the host, so that a window costs no
packet there. `layout bareflow` puts them beside the source.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.errors import BareflowError

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.guest import Guest

_LAYOUT = "tui new-layout bareflow {-horizontal src 3 {swaps 1 profile 1} 2} 3 pools 1 status 0 cmd 2"
WIDEST = 400


KINDS = ("swaps", "profile", "pools")
"""The windows, each with the answer to the question of its name."""


def _content(kind: str, guest: Guest, width: int) -> str:
    from bareflow_gdb.questions import registry

    return registry.load(kind).text(getattr(guest.kernel(), kind)(), width)


class Window:
    """One TUI window; gdb calls its methods by these names."""

    def __init__(self, kind: str, window: Any, windows: Windows) -> None:
        self._kind = kind
        self._window = window
        self._windows = windows
        self._row = 0
        self._column = 0
        self._lines: list[str] = []
        window.title = f"BareFlow {kind}"
        windows.shown.append(self)
        self.read(asked=True)

    def close(self) -> None:
        self._windows.shown.remove(self)

    def render(self) -> None:
        if not self._window.is_valid():
            return
        height, width = self._window.height, self._window.width
        rows = self._lines[self._row : self._row + height]
        # One character less than its width: gdb would wrap to the next row.
        text = "\n".join(row[self._column : self._column + width - 1] for row in rows)
        self._window.erase()
        self._window.write(text)

    def hscroll(self, columns: int) -> None:
        self._column = max(0, self._column + columns)
        self.render()

    def vscroll(self, rows: int) -> None:
        self._row = max(0, min(self._row + rows, len(self._lines) - 1))
        self.render()

    def read(self, *, asked: bool) -> None:
        """Asks the guest; unasked only when that costs no packet."""
        if not asked and not self._windows.reads_freely():
            return
        try:
            session = self._windows.current()
            session.require()
            text = _content(self._kind, session.guest, WIDEST)
        except (BareflowError, gdb.error) as error:
            text = str(error)
        self._lines = text.splitlines()


class Windows:
    """The windows that are shown now, and the stop that they show."""

    def __init__(self, current: Callable[[], Session], peek: Callable[[], Session]) -> None:
        self.current = current
        self._peek = peek
        self._stale = False
        self.shown: list[Window] = []

    def register(self) -> None:
        """Makes window types and layout known; a gdb without TUI goes without."""
        if not hasattr(gdb, "register_window_type"):
            return
        for kind in KINDS:
            gdb.register_window_type(kind, _factory(kind, self))
        # A layout of this name stays when the script is sourced again.
        with contextlib.suppress(gdb.error):
            gdb.execute(_LAYOUT, to_string=True)
        gdb.events.stop.connect(self._stopped)
        gdb.events.before_prompt.connect(self._prompt)

    def unregister(self) -> None:
        """Unhooks it; gdb keeps the window types until they are registered again."""
        if hasattr(gdb, "register_window_type"):
            gdb.events.stop.disconnect(self._stopped)
            gdb.events.before_prompt.disconnect(self._prompt)

    def reads_freely(self) -> bool:
        return self._peek().reads_freely

    def refresh(self) -> int:
        """Reads and draws all that are shown; returns how many those are."""
        for window in self.shown:
            window.read(asked=True)
            window.render()
        return len(self.shown)

    def _stopped(self, event: Any) -> None:  # noqa: ARG002 - gdb's signature
        self._stale = True

    def _prompt(self) -> None:
        # Not in the stop handler: a command may go on at once.
        if not self._stale:
            return
        self._stale = False
        for window in self.shown:
            window.read(asked=False)
            window.render()


def _factory(kind: str, windows: Windows) -> Callable[[Any], Window]:
    return lambda window: Window(kind, window, windows)
