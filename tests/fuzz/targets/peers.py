"""Other programs that lie: a gdbstub, QEMU on its QMP socket, the LLVM worker."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from asking import ask

from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.qemu import qmp
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.qemu.process import started_at
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.pipe import encode
from bareflow_gdb.recompile.verify.trial import BLOCK, Code, Trial, Verdict
from bareflow_gdb.render.jsonable import dumps, dumps_answer
from fuzz import mutate
from fuzz.peer import listening
from fuzz.target import Target

ANSWER_SECONDS = 0.05
_JUNK = (
    b"",
    b"+",
    b"-",
    b"$OK#9a",
    b"$E01#a6",
    b"$#00",
    b"+$OK#00",
    b"+$\x1b[31mred#11",
    b"$T05thread:01;#07",
    b"+$O1b5b33316d0a#a5" * 3,
    b"}" * 100,
    b"x" * 70000,
    b"+" * 300000,
    b"$" + b"0" * 70000,
)


def packet(body: bytes) -> bytes:
    """A packet of the remote serial protocol, acknowledged."""
    return b"+$%b#%02x" % (body, sum(body) & 0xFF)


class Stub(Target):
    """Right answers from a good memory, but for those that the script gives instead."""

    name, share, round, waits = "gdbstub client, hostile stub", 6, 4, True

    def prepare(self) -> None:
        self._ram = RawDump(self.seeds / "own.ram")

    def inputs(self, chance: Random) -> Iterator[str]:
        script = {}
        for _ in range(chance.randint(1, 4)):
            at = chance.choice((0, 1, 2, 3, 5, chance.randrange(20)))
            kind = chance.random()
            if kind < 0.4:
                lie: object = {"send": chance.choice(_JUNK).hex()}
            elif kind < 0.7:
                body = mutate.blob(chance, chance.choice((b"OK", b"E22", b"PacketSize=1000;x", b"00" * 512, b"O0a")))
                lie = {"send": packet(body).hex()}
            elif kind < 0.9:
                lie = {"change": chance.randrange(1 << 30)}
            elif kind < 0.97:
                lie = {"close": True}
            else:
                lie = {"drip": chance.choice((b"+", b"$", b"O", b"a")).hex()}
            script[str(at)] = lie
        (self.folder / "script.json").write_text(json.dumps(script))
        yield from ("status", "monitor", "screen", "write")

    def ask(self, folder: Path, words: str) -> str:
        script = json.loads((folder / "script.json").read_text())
        with listening(folder / "s", lambda connection: self._speak(connection, script)) as path:
            stub = GdbStub.connect(f"unix:{path}", timeout=ANSWER_SECONDS)
            try:
                if words == "monitor":
                    return ascii(stub.monitor("info registers"))
                if words == "screen":
                    return stub.screen().hex()
                if words == "write":
                    stub.write(0x300000, bytes(4000), "nothing")
                    return ""
                return dumps_answer(ask(Guest.attach(stub), words))
            finally:
                stub.close()

    def _speak(self, connection: socket.socket, script: dict[str, dict[str, object]]) -> None:
        received, number = b"", 0
        while more := connection.recv(1 << 16):
            received += more
            while b"#" in received and len(received) > received.index(b"#") + 2:
                command, _, received = received.partition(b"#")
                received = received[2:]
                answer = packet(self._answer(command.lstrip(b"+-")[1:]))
                lie = script.get(str(number), {})
                number += 1
                if "close" in lie:
                    return
                if "drip" in lie:
                    self._drip(connection, bytes.fromhex(str(lie["drip"])))
                    return
                if "send" in lie:
                    answer = bytes.fromhex(str(lie["send"]))
                elif "change" in lie:
                    answer = mutate.blob(Random(int(str(lie["change"]))), answer)
                connection.sendall(answer)

    @staticmethod
    def _drip(connection: socket.socket, byte: bytes) -> None:
        """Never silent for long enough, never done; until the client has had enough."""
        end = time.monotonic() + 8
        while time.monotonic() < end:
            connection.sendall(byte)
            if select.select([connection], [], [], ANSWER_SECONDS / 4)[0] and not connection.recv(1 << 16):
                return

    def _answer(self, command: bytes) -> bytes:
        if command.startswith(b"qSupported"):
            return b"PacketSize=1000"
        if command.startswith(b"m"):
            at, size = (int(word, 16) for word in command[1:].split(b","))
            return self._ram.read(at, size, "stub").hex().encode() if at < 0xA0000 else bytes(size).hex().encode()
        if command.startswith(b"qRcmd"):
            return b"O" + (self.seeds / "registers.txt").read_bytes().hex().encode()
        return b"OK"


class Qmp(Target):
    """What QEMU says on its QMP socket."""

    name, share, round, waits = "QMP answers", 6, 4, True
    _greeting: ClassVar = {
        "QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}
    }

    def prepare(self) -> None:
        qmp.CONNECT_SECONDS = qmp.COMMAND_SECONDS = 0.2

    def inputs(self, chance: Random) -> Iterator[str]:
        lines: list[object] = [self._greeting, {"return": {}}, {"return": {"status": "running", "running": True}}]
        lines.append({"return": (self.seeds / "registers.txt").read_text()})
        at = chance.randrange(len(lines))
        said = [json.dumps(line).encode() for line in lines]
        said[at] = mutate.json_text(chance, said[at]).replace(b"\n", b" ")
        if chance.random() < 0.1:
            said[at] = b"A" * (1 << 20)
        (self.folder / "said").write_bytes(b"\r\n".join(said))
        yield from ("status", "registers", "screen", "core")

    def ask(self, folder: Path, words: str) -> str:
        with listening(folder / "q", lambda connection: self._speak(connection, folder)) as path:
            pid = os.getpid()
            machine = Machine("fuzz", folder, pid, path, path, path, path, path, started=started_at(pid))
            if words == "status":
                return dumps(machine.status())
            if words == "screen":
                return machine.read_screen().hex()
            if words == "core":
                machine.dump_core(folder / "core")
                return ""
            return ascii(machine.monitor("info registers"))

    @staticmethod
    def _speak(connection: socket.socket, folder: Path) -> None:
        greeting, *answers = (folder / "said").read_bytes().split(b"\r\n")
        connection.sendall(greeting + b"\r\n")
        for answer in answers:
            asked = connection.recv(1 << 16)
            if not asked:
                return
            try:
                identity = json.loads(asked)["id"]
                known = json.loads(answer)
                known["id"] = identity
                answer = json.dumps(known).encode()
            except (ValueError, KeyError, TypeError, RecursionError):
                pass
            connection.sendall(answer + b"\r\n")


class _Played(Compiler):
    """Its worker says what is in a file."""

    def __init__(self, said: Path) -> None:
        super().__init__(timeout=0.5)
        self._said_by = said

    def start(self) -> None:
        if self._process is not None:
            return
        words = ["/bin/cat", str(self._said_by)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._deadline = time.monotonic() + self.timeout


class WorkerFrames(Target):
    name, share, round, waits = "frames from the LLVM worker", 10, 1, True

    def inputs(self, chance: Random) -> Iterator[str]:
        times = {"parse": 1.0, "optimise": 1.0, "emit": 1.0}
        verdict = Verdict(3, "with (0, 0) returns 1, the published code 2", False, "", 1.5, (0, 1), (BLOCK,))
        heads = [{"ready": True}, {"milliseconds": times}, {"refused": "no"}, {"verdict": verdict.to_json()}]
        frames = [encode(heads[0]), encode(chance.choice(heads), bytes(600))]
        if chance.random() < 0.5:
            head = mutate.json_text(chance, json.dumps(heads[chance.choice((1, 2, 3))]).encode())
            frames[1] = len(head).to_bytes(4, "little") + (600).to_bytes(4, "little") + head + bytes(600)
        said = b"".join(frames)
        if chance.random() < 0.6:
            said = mutate.blob(chance, said)
        (self.folder / "said").write_bytes(said)
        yield from ("compile", "verify")

    def ask(self, folder: Path, words: str) -> str:
        with _Played(folder / "said") as compiler:
            if words == "verify":
                nowhere = Code(0, ())
                compiler.begin_trial(Trial(nowhere, nowhere, 0, 0, 0, (), (), 0, True, ()), b"")
                while (verdict := compiler.poll_trial(0.5)) is None:
                    pass
                return dumps(verdict)
            made = compiler.compile(b"BC\xc0\xde", "main", 2)
            return dumps((made.level, made.remarks, made.milliseconds, len(made.data)))
