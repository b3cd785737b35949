"""What a stub, a disk, a Parquet file says reaches nobody's terminal as it is, and a path of a stub is only read."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trace_maker
from hostile_names import HARMFUL

from bareflow_gdb.cli.main import main
from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.qemu.disk import image_path, opened

SAID = b"E\x1b[31mRED\x1b]0;title\x07"


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[str]:
    """A gdbstub that answers every command with the same words."""
    path = tmp_path / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        packet = b"+$%b#%02x" % (SAID, sum(SAID) & 0xFF)
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                while data := client.recv(4096):
                    client.sendall(packet * data.count(b"$"))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"unix:{path}"
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_stub_s_words_are_cleaned(stub: str) -> None:
    with GdbStub.connect(stub) as memory:
        for ask in (lambda: memory.read(0x600, 4, "boot record"), lambda: memory.monitor("info block")):
            with pytest.raises(BareflowError) as raised:
                ask()
            assert not HARMFUL.search(str(raised.value)) and "?[31m" in str(raised.value)


def test_a_damaged_segment_is_told_harmlessly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = trace_maker.make(tmp_path / "trace", [trace_maker.batch(trace_maker.SWAP)])
    (segment,) = trace.glob("*.parquet")
    whole = segment.read_bytes()
    for at in range(4, len(whole), 7):
        segment.write_bytes(whole[:at] + b"\x1b[31m\x07"[: len(whole) - at] + whole[at + 6 :])
        main(["trace", "show", str(trace)])
        said = capsys.readouterr()
        assert not HARMFUL.search(said.out + said.err)


class Says:
    """A memory whose monitor names any file of the host."""

    def __init__(self, path: str) -> None:
        self._path = path

    def monitor(self, _: str) -> str:
        return f"ide0-hd1 (#block1): {self._path} (raw)\n"


def test_only_a_file_is_opened_where_a_stub_points(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in (str(tmp_path / "fifo"), "/dev/tty", "/dev/zero", str(tmp_path)):
        path = image_path(Says(name))  # type: ignore[arg-type]
        with pytest.raises(Unreachable, match="is not a file"), opened(path):
            pass
