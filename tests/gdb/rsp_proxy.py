"""Counts the packets between gdb and a gdbstub: a relay from one unix socket to another.

A packet is `$…#xx` (GDB manual, Remote Protocol, Overview); acknowledgements and the interrupt byte are none.
"""

from __future__ import annotations

import os
import re
import selectors
import socket
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType

# In a packet `$` and `#` are escaped, so each pair of them is one packet.
_PACKET = re.compile(rb"\$([^#]*)#..", re.DOTALL)


class RspProxy:
    """Listens on `listen`, relays one connection after the other to `server`, and counts meanwhile.

    sent / received: packets from gdb and from the stub so far; kinds: the first two characters of gdb's.
    """

    def __init__(self, listen: Path, server: Path) -> None:
        self.path = listen
        self.server = server
        self.sent = 0
        self.received = 0
        self.kinds: Counter[str] = Counter()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(listen))
        self._listener.listen()
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RspProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._waker, b"x")
        self._thread.join(10)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        os.close(self._wake)
        os.close(self._waker)

    def answer(self, data: bytes) -> bytes:  # noqa: ARG002 - for subclasses
        """What gdb gets for this instead of the stub's answer; b"" = the stub is asked."""
        return b""

    def _serve(self) -> None:
        while self._wait(self._listener):
            client, _ = self._listener.accept()
            with client, socket.socket(socket.AF_UNIX) as server:
                server.connect(str(self.server))
                if not self._relay(client, server):
                    return

    def _wait(self, *sources: socket.socket) -> list[socket.socket]:
        """The sources that can be read; none when the proxy is being closed."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for source in sources:
                selector.register(source, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select()]
        return [] if self._wake in ready else [item for item in ready if isinstance(item, socket.socket)]

    def _relay(self, client: socket.socket, server: socket.socket) -> bool:
        """Until one side closes: True; until the proxy is being closed: False."""
        rest = {client: b"", server: b""}
        while True:
            ready = self._wait(client, server)
            if not ready:
                return False
            for source in ready:
                try:
                    data = source.recv(1 << 16)
                except ConnectionResetError:
                    return True
                if not data:
                    return True
                rest[source] = self._count(rest[source] + data, from_gdb=source is client)
                if source is client and (answer := self.answer(data)):
                    client.sendall(answer)
                else:
                    (server if source is client else client).sendall(data)

    def _count(self, data: bytes, *, from_gdb: bool) -> bytes:
        end = 0
        for packet in _PACKET.finditer(data):
            end = packet.end()
            if from_gdb:
                self.sent += 1
                self.kinds[packet[1][:2].decode("latin-1")] += 1
            else:
                self.received += 1
        return data[end:]


class TcpProxy(RspProxy):
    """The same relay, listening on a port of the loopback device that the system chooses."""

    def __init__(self, server: Path) -> None:
        super().__init__(server.with_name("unused.sock"), server)
        self._listener.close()
        self.path.unlink()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])


class OneStep(RspProxy):
    """Answers one of gdb's steps itself, `times` times: with `instead`, else with the stop that came before it."""

    number = 1
    """Which step."""
    times = 1
    instead = b""
    answered = 0
    _steps = 0
    _stop = b""

    def answer(self, data: bytes) -> bytes:
        if b"vCont;s" not in data:
            return b""
        self._steps += 1
        if self.answered == self.times or self._steps < self.number:
            return b""
        self.answered += 1
        return b"+" + (self.instead or self._stop)

    def _count(self, data: bytes, *, from_gdb: bool) -> bytes:
        stops = re.findall(rb"\$T05[^#]*#..", data)
        if stops and not from_gdb:
            self._stop = stops[-1]
        return super()._count(data, from_gdb=from_gdb)
