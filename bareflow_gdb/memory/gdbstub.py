"""Reads guest memory through a gdbstub, without gdb: a small client of the remote serial protocol.

QEMU stops the guest when a client connects; `close` detaches, and the guest runs on. One client at a time.
"""

from __future__ import annotations

import contextlib
import re
import socket
import weakref
from collections.abc import Iterator

from bareflow_gdb.errors import BareflowError, ReadError, Unreachable, UsageError
from bareflow_gdb.memory.paging import PG
from bareflow_gdb.memory.protocol import RAM_SIZE, SCREEN_ADDRESS, SCREEN_BYTES, CheckedMemory, ram_ranges
from bareflow_gdb.memory.remote_serial import Line

ANSWER_SECONDS = 10.0
LEAVE_SECONDS = 1.0
SMALLEST_PACKET = 400
DETACH = b"$D#44"
CR0 = re.compile(r"\bCR0 *= *([0-9a-f]+)")


def physical_mode(on: bool) -> str:
    """The packet after which QEMU's stub takes addresses for physical ones, or again for linear ones."""
    return f"Qqemu.PhyMemMode:{int(on)}"


class GdbStub(CheckedMemory):
    """A gdbstub at `tcp:HOST:PORT` or `unix:PATH`; the guest is stopped still until `close`."""

    name = "gdbstub"
    ram_is_guessed = True

    def __init__(
        self, connection: socket.socket, address: str, ram_size: int = RAM_SIZE, seconds: float = ANSWER_SECONDS
    ) -> None:
        super().__init__(ram_ranges(ram_size))
        self.address = address
        self._connection: socket.socket | None = connection
        self._line = Line(connection, address, seconds)
        self._said: dict[str, str] = {}
        self._paged: bool | None = None
        # Also when nobody calls close: a client that only disappears leaves the guest stopped for ever.
        self._detach = weakref.finalize(self, _leave, connection)
        self._answer_bytes = self._negotiate()
        self.packet_bytes = self._answer_bytes

    @classmethod
    def connect(cls, text: str, *, timeout: float = ANSWER_SECONDS, ram_size: int = RAM_SIZE) -> GdbStub:
        """The stub at this address. Raises UsageError for a malformed one, Unreachable when none answers."""
        family, where = _parse(text)
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(where)
            if family == socket.AF_INET:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(connection, text, ram_size, timeout)
        except OSError as error:
            connection.close()
            raise Unreachable(f"no gdbstub at {text} ({error.strerror or error}); is the guest running?") from error
        except Unreachable:
            # QEMU accepts this connection once the present client leaves, and stops the guest for it.
            _leave(connection)
            raise

    @property
    def line(self) -> Line:
        """For who sends other packets than those for memory."""
        return self._line

    @property
    def fileno(self) -> int:
        """The connection's descriptor, as long as it is open. Raises Unreachable."""
        if self._connection is None:
            raise Unreachable(f"the connection to {self.address} is closed")
        return self._connection.fileno()

    def close(self) -> None:
        """Detaches: the guest runs on, also when it was paused before."""
        self._detach()
        self._connection = None

    def __enter__(self) -> GdbStub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _negotiate(self) -> int:
        """Bytes of memory that one answer carries: two characters each, and no more than QEMU takes."""
        answer = self._command("qSupported:xmlRegisters=i386")
        sizes = [item.partition("=")[2] for item in answer.split(";") if item.startswith("PacketSize=")]
        # A stub that describes no CPU is not QEMU's, and is not asked what only QEMU's monitor can tell.
        self._paged = None if "qXfer:features:read+" in answer else False
        try:
            characters = int(sizes[0], 16) if sizes else SMALLEST_PACKET
        except ValueError:
            characters = SMALLEST_PACKET
        return max(min(characters, 1 << 16), SMALLEST_PACKET) // 512 * 256 or 128

    def _fetch(self, address: int, size: int) -> bytes:
        with self._physical():
            return self._fetched(address, size)

    @contextlib.contextmanager
    def _physical(self) -> Iterator[None]:
        """While paging is on a stub reads linear addresses; QEMU's reads physical ones when it is told to.

        Told back at once: the mode would outlive this connection.
        """
        if self._paged is None:
            # Known for good: the CPU stands still while this connection lasts.
            self._paged = self._is_paged()
        if not self._paged:
            yield
            return
        if self._command(physical_mode(True)) != "OK":
            raise Unreachable(f"paging is on, and the stub at {self.address} reads no physical memory; is it QEMU's?")
        try:
            yield
        finally:
            self._command(physical_mode(False))

    def _is_paged(self) -> bool:
        try:
            found = CR0.search(self.monitor("info registers"))
        except BareflowError:
            # No QEMU: then it is believed to have no paging, as BareFlow has none.
            return False
        return found is not None and bool(int(found[1], 16) & PG)

    def _fetched(self, address: int, size: int) -> bytes:
        parts = []
        while size:
            step = min(size, self._answer_bytes)
            parts.append(self._read(address, step))
            address, size = address + step, size - step
        return b"".join(parts)

    def _read(self, address: int, size: int) -> bytes:
        answer = self._command(f"m{address:x},{size:x}")
        try:
            data = bytes.fromhex(answer)
        except ValueError as error:
            raise ReadError(address, size, "gdbstub", f"the stub refused ({answer[:20]})") from error
        if len(data) != size:
            raise ReadError(address, size, "gdbstub", f"the stub delivered {len(data)} bytes ({answer[:20]})")
        return data

    def _store(self, address: int, data: bytes) -> None:
        with self._physical():
            self._stored(address, data)

    def _stored(self, address: int, data: bytes) -> None:
        # The command's own text takes part of the packet.
        step = self._answer_bytes - 32
        for at in range(0, len(data), step):
            part = data[at : at + step]
            answer = self._command(f"M{address + at:x},{len(part):x}:{part.hex()}")
            if answer != "OK":
                raise ReadError(address + at, len(part), "gdbstub", f"the stub refused ({answer[:20]})", verb="write")

    def invalidate(self) -> None:
        super().invalidate()
        self._said.clear()

    def screen(self) -> bytes:
        return self._fetch(SCREEN_ADDRESS, SCREEN_BYTES)

    def monitor(self, command: str) -> str:
        """GDB manual, Remote Protocol, `qRcmd`: any number of packets `O` with text, then `OK`.

        Asked once: the guest stands still while this connection lasts.
        """
        if command not in self._said:
            self._said[command] = self._ask_monitor(command)
        return self._said[command]

    def _ask_monitor(self, command: str) -> str:
        answer = self._command(f"qRcmd,{command.encode().hex()}")
        said = bytearray()
        try:
            while answer != "OK":
                if not answer.startswith("O"):
                    raise Unreachable(f"{self.address} does not answer `{command}` ({answer[:20]}); is it QEMU?")
                said += bytes.fromhex(answer[1:])
                answer = self._line.more()
        except ValueError as error:
            raise Unreachable(f"{self.address} does not answer `{command}`; is it QEMU?") from error
        return said.decode("latin-1")

    def _command(self, text: str) -> str:
        if self._connection is None:
            raise Unreachable(f"the connection to {self.address} is closed")
        self.packets += 1
        return self._line.command(text)


def _leave(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.settimeout(LEAVE_SECONDS)
        connection.sendall(DETACH)
        # The answer tells that the guest runs again.
        connection.recv(64)
    connection.close()


def _parse(text: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return socket.AF_UNIX, rest
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and port.isdecimal() and 0 < int(port) < 65536:
        return socket.AF_INET, (host or "localhost", int(port))
    raise UsageError(f"{text!r} is not the address of a gdbstub; write tcp:HOST:PORT or unix:PATH")
