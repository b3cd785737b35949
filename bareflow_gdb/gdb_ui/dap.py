"""What does an editor see of the suite's internal breakpoints and symbol files? Nothing.

gdb's server of the Debug Adapter Protocol tells of all of them, so that editors would show breakpoints that nobody
set, and a stop at every swap that a breakpoint follows. Where gdb is no such server, nothing is done here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bareflow_gdb.gdb_ui import jit_symbols

Send = Callable[..., None]

_MODULES = ("gdb.dap.events", "gdb.dap.breakpoint")
"""Where gdb 14 to 18 send these events from, by a function of this name."""
_SEND = "send_event"


class QuietServer:
    """Stands before gdb's own function that sends an event to the editor."""

    def __init__(self) -> None:
        self.passing: set[int] = set()
        """Numbers of the breakpoints whose stops are passed by: the guest goes on by itself."""
        self._before: dict[str, Send] = {}
        self._held: tuple[Send, str, dict[str, Any]] | None = None

    def connect(self) -> None:
        """Begins, where gdb serves an editor."""
        for name in _MODULES:
            module = sys.modules.get(name)
            send = getattr(module, _SEND, None)
            if callable(send):
                self._before[name] = send
                setattr(module, _SEND, self._filter(send))

    def disconnect(self) -> None:
        """Ends; gdb's own function is there again."""
        for name, send in self._before.items():
            setattr(sys.modules[name], _SEND, send)
        self._before.clear()
        self.tell()

    def tell(self) -> None:
        """The guest remains at the stop that was held back: the editor is told of it after all."""
        if self._held is not None:
            send, event, body = self._held
            self._held = None
            send(event, body)

    def _filter(self, send: Send) -> Send:
        def filtered(event: str, body: Any = None) -> None:
            if event == "breakpoint" and body["breakpoint"]["id"] < 0:
                return
            if event == "module" and jit_symbols.is_ours(str(body["module"].get("path", ""))):
                return
            if event == "stopped" and "hitBreakpointIds" in body:
                hit = body["hitBreakpointIds"]
                body["hitBreakpointIds"] = [number for number in hit if number > 0]
                if self.passing.issuperset(hit):
                    self._held = send, event, body
                    return
            if event == "continued" and self._held is not None:
                self._held = None
                return
            send(event, body)

        return filtered


quiet_server = QuietServer()
