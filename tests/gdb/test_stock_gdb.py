"""gdb at stock kernels: over TCP as over a unix socket, with symbols or without, within the packet budget."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import record_of
from gdb_harness import SCRIPT, Gdb
from machines import Boot, wait_for
from mi_gdb import MiError, MiGdb
from rsp_proxy import RspProxy, TcpProxy
from stock_truth import truth, truth_at

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu import qmp
from bareflow_gdb.qemu.command import EMULATOR
from bareflow_gdb.render.jsonable import to_json

QUESTIONS = ("status", "modules", "pools", "jit", "profile", "swaps")
ENDS = {"stock": "--- END JSON ---", "stock_unikernel": "System halted."}
BUDGET = 10
# How an answer was found is told beside it, and differs with the ELF that gdb has.
BESIDE = ("found", "unknown")

# The guest has halted and cannot be stepped: a write of the user makes what was read stale too.
STALE = "set var *(unsigned char *) 0x500 = 0"


def over_tcp(gdb: Gdb, port: int, elf: Path) -> dict[str, Any]:
    """The answers as JSON, of a gdb that runs all questions in a batch; of the unanswered, the sentence."""
    questions = [f"bf {question} --json" for question in QUESTIONS]
    result = gdb.run(f"target remote tcp:127.0.0.1:{port}", *questions, elf=elf)
    said = dict(re.findall(r"^bf (\w+): (.*)$", result.err, re.MULTILINE))
    text = result.out
    found: dict[str, Any] = {}
    for question in QUESTIONS:
        if question in said:
            found[question] = said[question]
            continue
        text = text[text.index("{\n") :]
        record, end = json.JSONDecoder().raw_decode(text)
        text = text[end:]
        found[question] = without_beside(record)
    return found


def over_unix(gdb: Gdb, proxy: RspProxy, elf: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The answers, and what each cost once the search was done; of pools, without the packet for each block."""
    found: dict[str, Any] = {}
    costs: dict[str, int] = {}
    with MiGdb(gdb.path, script=SCRIPT, elf=elf) as session:
        session.run(f"target remote {proxy.path}")
        session.run("bf status")
        session.run("bf pools")
        for question in (*QUESTIONS, "find"):
            session.run(STALE)
            before = proxy.sent
            try:
                answer = session.run(f"bf {question} --json")
            except MiError as error:
                answer = ""
                found[question] = str(error).partition(f"bf {question}: ")[2]
            else:
                found[question] = without_beside(json.loads(answer))
            costs[question] = proxy.sent - before
            if question == "pools":
                costs[question] -= answer.count('"owner"')
    return found, costs


def without_beside(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in BESIDE}


def of_library(memory: Memory) -> dict[str, Any]:
    """The same without gdb."""
    guest = Guest.attach(memory)
    found: dict[str, Any] = {}
    for question in QUESTIONS:
        try:
            found[question] = to_json(record_of(guest, question))
        except BareflowError as error:
            found[question] = str(error)
    return json.loads(json.dumps(found))


def assert_true(kernel: str, found: dict[str, Any], told: dict[str, Any]) -> None:
    """Compares answers with what the debug information of the twin tells."""
    pools = [
        [int(pool["base"], 16), *(pool[key] for key in ("size", "used", "free", "allocations", "peak"))]
        for pool in found["pools"]["pools"]
    ]
    assert pools == told["stats"]
    profile = sorted(found["profile"]["functions"], key=lambda one: one["id"])
    if kernel == "stock_unikernel":
        keys = ("name", "calls", "total_cycles", "min_cycles", "max_cycles")
        assert [[one[key] for key in keys] for one in profile] == told["entries"]
        return
    keys = ("calls", "total_cycles", "max_cycles", "level", "hot")
    assert [[one["name"], int(one["address"], 16), *(one[key] for key in keys)] for one in profile] == told["profile"]
    keys = ("code_size", "calls", "total_cycles", "max_cycles", "loaded")
    assert [
        [one["name"], int(one["code"], 16), *(one[key] for key in keys)] for one in found["modules"]["modules"]
    ] == told["modules"]
    levels = [[one[0], level] for one in told["functions"] for level in range(1, one[1] + 1)]
    assert [[swap["function"], swap["to_level"]] for swap in found["swaps"]["swaps"]] == levels
    assert [one["name"] for one in found["jit"]["functions"]] == [one[0] for one in told["functions"]]


@pytest.mark.parametrize("symbols", ("symbols", "stripped"))
@pytest.mark.parametrize("kernel", sorted(ENDS))
def test_over_tcp_and_a_unix_socket_the_answers_are_those_of_the_twin(
    gdb: Gdb, firmware: Path, ended: Boot, tmp_path: Path, kernel: str, symbols: str
) -> None:
    machine = ended(kernel)
    elf = firmware / "stock" / (f"{kernel}.elf" if symbols == "symbols" else f"{kernel}_stripped.elf")
    told, known = truth(firmware, kernel, machine, tmp_path), of_library(machine.memory())
    with TcpProxy(machine.gdb_socket) as tcp:
        answers = over_tcp(gdb, tcp.port, elf)
    assert tcp.sent > 0
    assert answers == known
    assert_true(kernel, answers, told)
    with RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as unix:
        found, costs = over_unix(gdb, unix, elf)
    assert found.pop("find")["records"]
    assert found == answers
    assert {question: cost for question, cost in costs.items() if cost > BUDGET} == {}
    assert costs["status"] > 0, "it was read through gdb"


@pytest.fixture(scope="module", params=sorted(ENDS))
def own_qemu(
    request: pytest.FixtureRequest, firmware: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A user's own QEMU at the end of a stock kernel's run, with `-gdb tcp:`: the kernel, and HOST:PORT."""
    kernel, folder = str(request.param), tmp_path_factory.mktemp("qemu")
    serial, monitor = folder / "serial.log", folder / "qmp.sock"
    words = [EMULATOR, "-m", "64", "-display", "none", "-serial", f"file:{serial}", "-gdb", "tcp:127.0.0.1:0"]
    words += ["-drive", f"file={firmware / 'stock' / f'{kernel}.img'},format=raw,snapshot=on"]
    words += ["-qmp", f"unix:{monitor},server=on,wait=off"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: serial.exists() and ENDS[kernel] in serial.read_text("latin-1"), ENDS[kernel])
            registers = ("human-monitor-command", {"command-line": "info registers"})
            wait_for(lambda: "HLT=1" in qmp.execute(monitor, [registers], who="QEMU")[0], "the halt")
            (devices,) = qmp.execute(monitor, [("query-chardev", {})], who="QEMU")
            listening = next(str(item["filename"]) for item in devices if item["label"] == "gdb")
            # QEMU chose the port: it says disconnected:tcp:127.0.0.1:PORT,server=on.
            found = re.search(r"tcp:(127\.0\.0\.1:\d+)", listening)
            assert found is not None, listening
            yield kernel, found[1]
        finally:
            process.kill()


@pytest.mark.parametrize("symbols", ("symbols", "stripped"))
def test_over_qemus_own_tcp_listener_the_answers_are_those_of_the_twin(
    gdb: Gdb, firmware: Path, own_qemu: tuple[str, str], tmp_path: Path, symbols: str
) -> None:
    kernel, place = own_qemu
    elf = firmware / "stock" / (f"{kernel}.elf" if symbols == "symbols" else f"{kernel}_stripped.elf")
    told = truth_at(firmware, kernel, f"tcp:{place}", tmp_path)
    with GdbStub.connect(f"tcp:{place}") as stub:
        known = of_library(stub)
    answers = over_tcp(gdb, int(place.partition(":")[2]), elf)
    assert answers == known
    assert_true(kernel, answers, told)
