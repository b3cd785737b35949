"""How is a guest stopped at a store, looked at, and let go again, by QEMU's gdbstub and without gdb?

While the guest runs any byte stops it (QEMU's gdbstub.c, `gdb_read_byte`), so that nothing is sent but what is to stop
it. Breakpoints of a client outlive it: the guest would stop there, and nobody let it go. So a small process of its own
stands by: when this one dies, in whatever way, it lets the guest go, without them.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from bareflow_gdb.errors import BareflowError, Unreachable, UsageError
from bareflow_gdb.memory.gdbstub import ANSWER_SECONDS, DETACH, GdbStub

CONNECT_SECONDS = 3.0
"""A gdb that is connected to the machine does not let another in: so long it is waited for."""
EXECUTE, WRITE = 1, 2
INTERRUPT = b"\x03"
_GUARD = """
import os, sys
os.read(0, 1)
os.set_blocking(int(sys.argv[1]), True)
os.write(int(sys.argv[1]), bytes.fromhex(sys.argv[2]))
"""

_GUARD_SECONDS = 5.0


class StubControl:
    """A machine's gdbstub: the guest stands still from then on until `go`. A context manager, which lets it go.

    Raises UsageError when somebody is connected already, Unreachable when QEMU is gone.
    """

    def __init__(self, socket_path: Path) -> None:
        try:
            self._stub = GdbStub.connect(f"unix:{socket_path}", timeout=CONNECT_SECONDS)
        except Unreachable as error:
            raise UsageError(f"{error}; a guest has one gdbstub, and watchpoints need it") from error
        self._line = self._stub.line
        self._line.allow(ANSWER_SECONDS)
        self._runs = False
        self._set: set[tuple[int, int]] = set()
        self._guard = _Guard(self._stub.fileno)

    def __enter__(self) -> StubControl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def watch(self, address: int, kind: int = WRITE) -> None:
        """From the next `go` on, stops at each store of a word there, or each EXECUTE. The guest stands still."""
        if (kind, address) not in self._set:
            self._ask(f"Z{kind},{address:x},{4 if kind == WRITE else 1}")
            self._set.add((kind, address))

    def unwatch(self, kind: int) -> None:
        """No stop of this kind any more."""
        for which, address in sorted(self._set):
            if which == kind:
                self._ask(f"z{kind},{address:x},{4 if kind == WRITE else 1}")
                self._set.discard((kind, address))

    def _ask(self, command: str) -> None:
        if (answer := self._line.command(command)) != "OK":
            raise Unreachable(f"the gdbstub refuses a watchpoint ({answer[:20]}); is it QEMU's?")

    @property
    def runs(self) -> bool:
        """Was it let go, and not heard of since?"""
        return self._runs

    def go(self) -> None:
        """Lets the guest run."""
        self._line.tell("c")
        self._runs = True

    def resumed(self) -> None:
        """Somebody else has let the guest go."""
        self._runs = True

    def stopped(self, seconds: float) -> str | None:
        """The stop report, once the guest has stopped within so many seconds: `T05…` where it was to, else another."""
        report = self._line.arrived(seconds)
        if report is not None:
            self._runs = False
        return report

    def stop(self) -> None:
        """Stops the guest where it is."""
        if self._runs:
            self._line.byte(INTERRUPT)
            if self.stopped(ANSWER_SECONDS) is None:
                raise Unreachable("the guest does not stop; is QEMU gone?")

    def registers(self) -> bytes:
        """The answer to `g`."""
        return self._line.command("g").encode("latin-1")

    def close(self) -> None:
        """Takes all watchpoints out and lets the guest run on."""
        with suppress(BareflowError):
            self.stop()
        self._stub.close()
        self._guard.close()


class _Guard:
    """Lets the guest go when this process has died: a stop, and the packet that detaches."""

    def __init__(self, connection: int) -> None:
        # Of its own session: a Ctrl-C at the terminal is for the recorder.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, str(connection), (INTERRUPT + DETACH).hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[connection],
            start_new_session=True,
        )

    def close(self) -> None:
        """It is not needed any more, and the connection is closed: what it writes nobody reads."""
        self._process.kill()
        self._process.wait(_GUARD_SECONDS)
        if self._process.stdin is not None:
            self._process.stdin.close()
