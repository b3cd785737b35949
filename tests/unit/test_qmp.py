"""A QEMU that dies while it is asked: one sentence, whatever qemu.qmp and asyncio make of the broken session."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from qemu.qmp import QMPClient

from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.qemu import qmp
from bareflow_gdb.qemu.machine import Machine

GREETING = (
    b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}\r\n'
)
WITHOUT_ID = b'{"return": {}}\r\n'


def speak(listener: socket.socket, lines: Sequence[bytes]) -> None:
    """Say the lines, each but the first after a word of the client's, and hang up."""
    client, _ = listener.accept()
    with client:
        for number, line in enumerate(lines):
            if number:
                client.recv(4096)
            client.sendall(line)


@pytest.mark.parametrize("lines", [(), (GREETING,), (GREETING, WITHOUT_ID), (GREETING, b"{\r\n"), (b"[]\r\n",)])
def test_a_session_that_breaks_is_one_sentence_and_nothing_is_logged(
    lines: Sequence[bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "qmp.sock"
    with ThreadPoolExecutor(1) as pool, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        for _ in range(qmp.GREETING_ATTEMPTS):
            pool.submit(speak, listener, lines)
        try:
            with pytest.raises(Unreachable, match="QEMU"):
                qmp.execute(path, [("query-status", {})], who="m1")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    gc.collect()
    assert [record.name for record in caplog.records if not record.name.startswith("qemu.qmp")] == []


def answer(listener: socket.socket) -> None:
    """A session in which everything is well."""
    client, _ = listener.accept()
    with client:
        client.sendall(GREETING)
        while asked := client.recv(4096):
            named = {key: value for key, value in json.loads(asked).items() if key == "id"}
            client.sendall(json.dumps({"return": {"status": "running"}, **named}).encode() + b"\r\n")


def test_what_the_end_of_a_session_cancels_is_no_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = QMPClient.disconnect

    async def cancelled(client: QMPClient) -> None:
        await real(client)
        # As qemu.qmp does when its writer is cancelled before it has drained.
        raise asyncio.CancelledError

    monkeypatch.setattr(QMPClient, "disconnect", cancelled)
    path = tmp_path / "qmp.sock"
    with ThreadPoolExecutor(1) as pool, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        pool.submit(answer, listener)
        assert qmp.execute(path, [("query-status", {})], who="m1") == [{"status": "running"}]


@pytest.mark.parametrize(
    ("told", "step"),
    [
        ("dump: failed to save memory: No space left on device", "make room there, or choose a place that has room"),
        ("Could not open '/x': Permission denied", "choose a place that you may write to"),
        ("dump: something else", "something else"),
    ],
)
def test_a_core_that_qemu_cannot_write_names_the_file_and_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, step: str
) -> None:
    def refuse(_self: Machine, command: str, **_: object) -> None:
        raise qmp.Refused(f"machine vm1: QEMU refused {command}: {told}")

    monkeypatch.setattr(Machine, "qmp", refuse)
    machine = Machine("vm1", tmp_path, os.getpid(), *[tmp_path] * 5, started="")
    with pytest.raises(BareflowError) as refused:
        machine.dump_core(tmp_path / "x.core")
    assert str(tmp_path / "x.core") in str(refused.value) and str(refused.value).endswith(step)
    assert list(tmp_path.iterdir()) == []
