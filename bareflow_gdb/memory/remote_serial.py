"""How is one command of the remote serial protocol sent and answered, in a time and an amount that end?

GDB manual, appendix "Remote Protocol", Overview: `$text#checksum`, each packet acknowledged by `+` or `-`. What comes
from the other end may be anything: every command has one deadline, however often something arrives.
"""

from __future__ import annotations

import re
import select
import socket
import time

from bareflow_gdb.errors import Unreachable

LARGEST_ANSWER = 2 << 20
"""Bytes that may arrive for one command, with all that stands around its answer."""
ATTEMPTS = 3
_ACKNOWLEDGEMENT = re.compile(rb"[+$-]")
_BEGIN = re.compile(rb"\$")


class Line:
    """The connection to a stub. After a command that failed it is given up: a late answer would be taken for the
    next one's, and whoever goes on asking would wait as long each time."""

    def __init__(self, connection: socket.socket, address: str, seconds: float) -> None:
        """`seconds` is the time of one command as a whole."""
        self.address = address
        self._connection = connection
        self._seconds = seconds
        self._deadline = 0.0
        self._arrived = 0
        self._received = bytearray()
        self._given_up = ""

    def command(self, text: str) -> str:
        """The answer to one packet; raises Unreachable."""
        self._deadline = time.monotonic() + self._seconds
        self._arrived = 0
        body = text.encode("ascii")
        packet = b"$%b#%02x" % (body, sum(body) & 0xFF)
        try:
            for _ in range(ATTEMPTS):
                self._send(packet)
                if self._acknowledged():
                    return self._packet()
            raise Unreachable(f"{self.address} refuses every packet; is it a gdbstub?")
        except Unreachable as error:
            self._given_up = str(error)
            raise

    def allow(self, seconds: float) -> None:
        """So long may a command take from now on."""
        self._seconds = seconds

    def tell(self, text: str) -> None:
        """Sends a packet that is answered when something happens: `arrived` gets it. Raises Unreachable."""
        self._deadline = time.monotonic() + self._seconds
        self._arrived = 0
        body = text.encode("ascii")
        try:
            self._send(b"$%b#%02x" % (body, sum(body) & 0xFF))
            if not self._acknowledged():
                raise Unreachable(f"{self.address} refuses every packet; is it a gdbstub?")
        except Unreachable as error:
            self._given_up = str(error)
            raise

    def arrived(self, seconds: float) -> str | None:
        """A packet that comes by itself within so many seconds; None when none has begun. Raises Unreachable."""
        self._deadline = time.monotonic() + self._seconds
        self._arrived = 0
        try:
            if b"$" not in self._received and not self._is_readable(seconds):
                return None
            return self._packet()
        except Unreachable as error:
            self._given_up = str(error)
            raise

    def _is_readable(self, seconds: float) -> bool:
        try:
            return bool(select.select([self._connection], [], [], seconds)[0])
        except (OSError, ValueError) as error:
            raise Unreachable(f"the connection to {self.address} broke; is the guest gone?") from error

    def byte(self, value: bytes) -> None:
        """Sends something that is no packet. Raises Unreachable."""
        self._deadline = time.monotonic() + self._seconds
        self._send(value)

    def more(self) -> str:
        """A further packet that belongs to the same command, within its time; raises Unreachable."""
        try:
            return self._packet()
        except Unreachable as error:
            self._given_up = str(error)
            raise

    def _acknowledged(self) -> bool:
        while True:
            mark = self._next(_ACKNOWLEDGEMENT)
            if mark != b"$":
                return mark == b"+"
            # A stop report that was under way; it wants its own '+'.
            self._rest()

    def _packet(self) -> str:
        self._next(_BEGIN)
        return self._rest()

    def _rest(self) -> str:
        """What follows a '$'."""
        while (end := self._received.find(b"#")) < 0 or len(self._received) < end + 3:
            self._receive()
        body, checksum = bytes(self._received[:end]), bytes(self._received[end + 1 : end + 3])
        del self._received[: end + 3]
        if f"{sum(body) & 0xFF:02x}".encode() != checksum.lower():
            raise Unreachable(f"{self.address} sent a damaged packet; is it a gdbstub?")
        self._send(b"+")
        return body.decode("latin-1")

    def _next(self, marks: re.Pattern[bytes]) -> bytes:
        """The first of the marks; what stands before it is dropped."""
        while (found := marks.search(self._received)) is None:
            self._received.clear()
            self._receive()
        mark = found[0]
        del self._received[: found.end()]
        return mark

    def _receive(self) -> None:
        try:
            self._connection.settimeout(self._left())
            more = self._connection.recv(1 << 16)
        except TimeoutError as error:
            raise Unreachable(self._late()) from error
        except OSError as error:
            raise Unreachable(self._broke(error)) from error
        if not more:
            raise Unreachable(f"{self.address} closed the connection; is the guest gone?")
        self._arrived += len(more)
        if self._arrived > LARGEST_ANSWER:
            raise Unreachable(f"{self.address} sent {self._arrived:,} bytes that are no answer; is it a gdbstub?")
        self._received += more

    def _send(self, data: bytes) -> None:
        if self._given_up:
            raise Unreachable(self._given_up)
        try:
            self._connection.settimeout(self._left())
            self._connection.sendall(data)
        except TimeoutError as error:
            raise Unreachable(self._late()) from error
        except OSError as error:
            raise Unreachable(self._broke(error)) from error

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _late(self) -> str:
        if not self._arrived:
            return f"{self.address} does not answer; is a gdb connected to it already?"
        return (
            f"{self.address} sent {self._arrived:,} bytes and no whole answer within {self._seconds:g} s; "
            "is it a gdbstub?"
        )

    def _broke(self, error: OSError) -> str:
        return f"the connection to {self.address} broke ({error.strerror or error}); is the guest gone?"
