"""gdb as an editor drives it: the Debug Adapter Protocol, which gdb has from version 14 on."""

from __future__ import annotations

import json
import re
import select
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gdb_harness import GDBS, KERNEL, ROOT, SCRIPT
from machines import SECONDS

from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


class Dap:
    """One `gdb -i=dap`."""

    def __init__(self, gdb: Path) -> None:
        self._process = subprocess.Popen(
            [str(gdb), "-nx", "-q", "-i=dap", "-x", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._sequence = 0
        self.events: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: Any) -> None:
        self._sequence += 1
        request = {"seq": self._sequence, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._process.stdin.flush()

    def wait(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            message = self._receive()
            if message["type"] == "event":
                self.events.append(message)
            if found(message):
                return message

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer to a request; fails the test when it is no."""
        self.send(command, **arguments)
        answer = self.wait(lambda message: message.get("command") == command)
        assert answer["success"], answer
        return dict(answer.get("body") or {})

    def _receive(self) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        size = 0
        while True:
            ready = out.peek(1)[:1] if hasattr(out, "peek") else b""
            if not ready and not select.select([out], [], [], SECONDS)[0]:
                raise AssertionError("gdb did not answer")
            line = out.readline()
            assert line, "gdb ended"
            if line.lower().startswith(b"content-length"):
                size = int(line.split(b":")[1])
            elif line == b"\r\n" and size:
                return dict(json.loads(out.read(size)))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def dap() -> Iterator[Dap]:
    session = Dap(GDBS["gdb-environment"])
    yield session
    session.end()


def test_an_editor_attaches_asks_and_stops_in_jit_code(dap: Dap, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    dap.ask("initialize", adapterID="gdb", clientID="test")
    dap.send("attach", target=str(machine.gdb_socket), program=str(KERNEL))
    dap.ask("configurationDone")
    dap.ask("threads")
    assert "registered" in dap.ask("evaluate", expression="bf status", context="repl")["result"]
    dap.ask("evaluate", expression="bf break jit:primes@O2", context="repl")
    dap.ask("evaluate", expression="bf release", context="repl")
    dap.ask("continue", threadId=1)
    dap.wait(lambda m: m.get("event") == "stopped" and m["body"]["reason"] == "breakpoint")
    names = [frame["name"] for frame in dap.ask("stackTrace", threadId=1)["stackFrames"]]
    assert re.fullmatch(r"primes@O2 #\d+", names[0]) and names[1] == "adaptive_jit_call"
    dap.ask("disconnect")


def test_an_editor_sees_nothing_of_the_internal_stops(dap: Dap, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    dap.ask("initialize", adapterID="gdb", clientID="test")
    dap.send("attach", target=str(machine.gdb_socket), program=str(KERNEL))
    dap.ask("configurationDone")
    dap.ask("threads")
    dap.events.clear()
    # Two swaps of each are followed before the code of the third is there.
    for function in ("primes", "sum"):
        dap.ask("evaluate", expression=f"bf break jit:{function}@O3", context="repl")
    dap.ask("evaluate", expression="bf release", context="repl")
    for _ in range(2):
        dap.ask("continue", threadId=1)
        stopped = dap.wait(lambda m: m.get("event") == "stopped")["body"]
        assert stopped["reason"] == "breakpoint" and all(number > 0 for number in stopped["hitBreakpointIds"])
        assert "@O3" in dap.ask("stackTrace", threadId=1)["stackFrames"][0]["name"]
    told = [(event["event"], event["body"]) for event in dap.events]
    assert [name for name, _ in told if name in ("stopped", "continued")] == ["stopped", "stopped"]
    assert not [body for name, body in told if name == "breakpoint" and body["breakpoint"]["id"] < 0]
    assert not [body for name, body in told if name == "module" and "jit-" in body["module"]["name"]]
    dap.ask("evaluate", expression="bf reload", context="repl")
    assert "Status" in dap.ask("evaluate", expression="bf status", context="repl")["result"]
    dap.ask("disconnect")


def test_the_example_for_vs_code_names_what_gdb_understands() -> None:
    example = json.loads((ROOT / "docs" / "vscode-launch.json").read_text())
    (configuration,) = example["configurations"]
    assert configuration["request"] == "attach"
    assert {"target", "program"} <= configuration.keys()
