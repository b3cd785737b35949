"""A gdbstub that answers badly, or for ever: each command ends in one sentence, within its one time."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bareflow_gdb.errors import ReadError, Unreachable
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.memory.remote_serial import LARGEST_ANSWER, Line

LIMIT = 0.5
Says = Callable[[], Iterable[bytes]]


def packet(text: bytes) -> bytes:
    return b"+$%b#%02x" % (text, sum(text) & 0xFF)


@contextlib.contextmanager
def stub(folder: Path, says: Says, *, greets: bool = True, pause: float = 0.0, monitor: bool = True) -> Iterator[str]:
    """The address of a stub that answers `qSupported` and then, whatever it is asked, says this.

    Without `monitor` it knows no monitor commands, and says it to the first other one.
    """
    path = str(folder / f"stub-{time.monotonic_ns()}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            connection.recv(1 << 16)
            if greets:
                connection.sendall(packet(b"PacketSize=1000"))
                asked = connection.recv(1 << 16)
                while not monitor and b"$m" not in asked:
                    if b"qRcmd" in asked:
                        connection.sendall(packet(b""))
                    asked = connection.recv(1 << 16)
            for piece in says():
                connection.sendall(piece)
                time.sleep(pause)
            # Ends when the client does.
            while connection.recv(1 << 16):
                pass

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield f"unix:{path}"
    finally:
        # On a busy machine the client may have gone before it was accepted: that wakes who still waits for it.
        listener.shutdown(socket.SHUT_RDWR)
        server.join()
        listener.close()
        Path(path).unlink()


ENDLESS: dict[str, tuple[Says, float]] = {
    "a plus at a time": (lambda: itertools.repeat(b"+"), 0.05),
    "an open packet, a digit at a time": (lambda: itertools.chain([b"+$"], itertools.repeat(b"0")), 0.05),
    "words without a packet": (lambda: itertools.repeat(b"x" * 65536), 0.0),
    "packets of text": (lambda: itertools.chain([b"+"], itertools.repeat(packet(b"O41")[1:])), 0.01),
    "16 MB of plus": (lambda: [b"+" * (16 << 20)], 0.0),
    "a packet of 16 MB": (lambda: [b"+$" + b"0" * (16 << 20)], 0.0),
    "stop reports and no acknowledgement": (lambda: itertools.repeat(packet(b"T05thread:01;")[1:]), 0.05),
    "stop reports at once": (lambda: itertools.repeat(packet(b"S05")[1:] * 4096), 0.0),
    "refusals": (lambda: itertools.repeat(b"-"), 0.05),
    "nothing": (list, 0.0),
}


@pytest.mark.parametrize("what", ENDLESS)
@pytest.mark.parametrize("greets", [True, False])
def test_whatever_a_stub_says_a_command_ends_in_one_sentence(tmp_path: Path, what: str, greets: bool) -> None:
    says, pause = ENDLESS[what]
    with (
        stub(tmp_path, says, greets=greets, pause=pause) as address,
        pytest.raises((Unreachable, ReadError)) as told,
        GdbStub.connect(address, timeout=LIMIT) as client,
    ):
        client.read(0x600, 64, "boot record")
    assert "\n" not in str(told.value)


def test_text_for_ever_ends_a_monitor_command_too(tmp_path: Path) -> None:
    for says, pause in (ENDLESS["packets of text"], (lambda: [b"+" + packet(b"O" + b"41" * 900)[1:] * 4096], 0.0)):
        with (
            stub(tmp_path, says, pause=pause) as address,
            GdbStub.connect(address, timeout=LIMIT) as client,
            pytest.raises(Unreachable),
        ):
            client.monitor("info registers")


def test_after_a_command_that_failed_nothing_more_is_waited_for(tmp_path: Path) -> None:
    with stub(tmp_path, list) as address, GdbStub.connect(address, timeout=LIMIT) as client:
        with pytest.raises(ReadError) as first:
            client.read(0x600, 64, "boot record")
        client._line._seconds = 1e9  # only what is given up ends now
        for _ in range(3):
            with pytest.raises(ReadError) as again:
                client.read(0x600, 64, "boot record")
            assert again.value.why == first.value.why


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"$OK#9a", b"+", b"-", b"$", b"#", b"$S05#b8"])))
def test_any_bytes_are_an_answer_or_one_sentence(pieces: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"".join(pieces))
        theirs.shutdown(socket.SHUT_WR)
        line = Line(ours, "unix:x", 5.0)
        for _ in range(3):
            try:
                line.command("m600,40")
            except Unreachable as error:
                assert "\n" not in str(error)


def test_an_answer_in_many_pieces_after_a_stop_report_is_the_answer(tmp_path: Path) -> None:
    answer = b"$S05#b8" + packet(b"2a" * 2048)
    with (
        stub(tmp_path, lambda: [answer[at : at + 7] for at in range(0, len(answer), 7)], monitor=False) as address,
        GdbStub.connect(address) as client,
    ):
        assert client.read(0x1000, 64, "record") == b"*" * 64


def test_the_amount_that_is_taken_for_one_command_has_an_end() -> None:
    assert LARGEST_ANSWER >= 2 * (1 << 16), "the largest packet, two characters a byte"
