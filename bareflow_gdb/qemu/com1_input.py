"""How does something come to COM1 of a running machine as input, while the log of what it sends goes on?

QEMU is told to read it from a FIFO, and to write on to the same file. A socket would do both, but whoever is connected
and does not read makes QEMU drop what the guest sends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bareflow_gdb.qemu import qmp
from bareflow_gdb.qemu.machine import Machine

FIFO = "com1.in"
MOST_BYTES = 4097
"""A pipe takes as much without a reader: a line of BF_QUESTION_TEXT bytes and its end."""


@contextmanager
def com1_input(machine: Machine, data: bytes) -> Iterator[None]:
    """The guest can read `data`, at most MOST_BYTES, as long as this is entered; what it has not read then is lost.

    Raises BareflowError when QEMU does not do it, OSError when the machine's directory takes no FIFO.
    """
    path = machine.directory / FIFO
    with suppress(FileNotFoundError):
        path.unlink()
    os.mkfifo(path, 0o600)
    try:
        # For both: neither this waits for QEMU to open it, nor QEMU for this.
        pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            file = {"out": str(machine.serial_path), "append": True, "in": str(path)}
            backend = {"type": "file", "data": file}
            change = ("chardev-change", {"id": "serial0", "backend": backend})
            qmp.execute(machine.qmp_socket, [change], who=f"machine {machine.name}")
            path.unlink()
            os.write(pipe, data[:MOST_BYTES])
            yield
        finally:
            os.close(pipe)
    finally:
        path.unlink(missing_ok=True)
