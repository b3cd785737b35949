"""How is QEMU started, detached, and when does it answer?"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.qemu import qmp
from bareflow_gdb.qemu.command import Wiring, command_line
from bareflow_gdb.qemu.progress import POLL_SECONDS, qemu_messages

START_SECONDS = 30.0


def start(wiring: Wiring, log: Path) -> subprocess.Popen[bytes]:
    """QEMU in its own session, its messages in `log`; returns once it answers on QMP. Raises BareflowError."""
    words = command_line(wiring)
    with log.open("wb") as messages:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            start_new_session=True,
            umask=0o077,
            cwd="/",
        )
    try:
        _wait_until_it_answers(child, wiring)
    except BaseException as error:
        # Also at Ctrl-C: nobody else knows of this process yet.
        child.kill()
        child.wait()
        if isinstance(error, BareflowError):
            raise BareflowError(f"QEMU did not start: {qemu_messages(log) or error}") from error
        raise
    return child


def _wait_until_it_answers(child: subprocess.Popen[bytes], wiring: Wiring) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (_listens(wiring.qmp_socket) and wiring.gdb_socket.exists() and wiring.serial.exists()):
        if child.poll() is not None:
            raise BareflowError(f"exit code {child.returncode}")
        if time.monotonic() > deadline:
            raise BareflowError(f"it did not open its sockets within {START_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    # QEMU opens its sockets before it looks at some of its options.
    qmp.execute(wiring.qmp_socket, [("query-status", {})], who=f"machine {wiring.name}")


def _listens(path: Path) -> bool:
    # Between QEMU's bind and its listen the file is there and connections are refused.
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
