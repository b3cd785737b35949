"""A hostile other side of a Unix socket: plays what a script says, whatever it is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

Speak = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(path: Path, speak: Speak) -> Iterator[Path]:
    """A socket at `path` whose every connection is talked to by `speak`, in a thread that ends with the block."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(4)
        thread = threading.Thread(target=_serve, args=(server, speak), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(30)
            path.unlink(missing_ok=True)


def _serve(server: socket.socket, speak: Speak) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                speak(connection)
