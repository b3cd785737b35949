"""`bareflow trace diff` of recorded runs of a real guest: what differs is told, what noise explains is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from machines import Boot

from bareflow_gdb.abi import layouts
from bareflow_gdb.analysis.swaps import last_tables
from bareflow_gdb.cli import main as cli
from bareflow_gdb.memory import snapshot
from bareflow_gdb.memory.protocol import CheckedMemory
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.store import Trace

Captured = pytest.CaptureFixture[str]


def told(capsys: Captured, *words: str, code: int) -> Any:
    assert cli.main(["trace", "diff", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_run_with_another_threshold_differs_in_its_tiers_and_in_no_code(
    booted: Boot, tmp_path: Path, capsys: Captured
) -> None:
    for name, thresholds in (("a", (10, 20, 30)), ("b", (10, 25, 35))):
        machine = booted(stage="registered", thresholds=thresholds, hold=1)
        with Recorder(machine, tmp_path / name) as recorder:
            recorder.release_hold()
            assert recorder.run(until_idle=True, seconds=60.0) == "idle"
        machine.stop()
    one, other = str(tmp_path / "a"), str(tmp_path / "b")
    same = told(capsys, one, one, code=0)
    assert [cost["worth"]["verdict"] for cost in same["costs"] if cost["worth"]["saved"]] == []
    assert {cost["what"].split()[0] for cost in same["costs"]} == {tier["function"] for tier in same["tiers"]}
    assert len(same["boot"]) > 5 and len(same["swaps"]) > 3 and same["notes"] == []
    found = told(capsys, one, other, code=1)
    for tier in found["tiers"]:
        assert (tier["before"], tier["after"]) == (3, 3)
        assert (tier["calls_before"], tier["calls_after"]) == ([10, 20, 30], [10, 25, 35])
    assert len(found["code"]) == 4 * len(found["tiers"])
    shutil.copytree(one, tmp_path / "slower")
    slower = Slower(Trace.open(tmp_path / "a"))
    snapshot.save(slower, slower.ranges, tmp_path / "slower")
    worths = {cost["what"]: cost["worth"] for cost in told(capsys, one, str(tmp_path / "slower"), code=1)["costs"]}
    told_slower = {what for what, worth in worths.items() if worth["verdict"] == "slower"}
    # Where the host was busy the intervals are wide: of those no difference is told.
    assert told_slower and told_slower <= slower.titles
    assert all(worth["verdict"] in ("slower", "no difference", "unknown") for worth in worths.values())
    assert cli.main(["trace", "diff", one, other]) == 1
    text = capsys.readouterr().out
    assert "tiers: 12 changed, 0 not" in text and "code, bytes: no difference" in text


class Slower(CheckedMemory):
    """The last moment of a trace, in which every call of one version in four took three times as long."""

    def __init__(self, trace: Trace) -> None:
        self._memory = trace.memory()
        super().__init__(self._memory.ranges)
        tables, _, _ = last_tables(trace)
        assert tables is not None
        size = layouts.size("bf_version_cost")
        self._from, count = tables.counters.version_costs, layouts.const("BF_MAX_VERSIONS")
        table = np.frombuffer(self._memory.read(self._from, count * size, "costs"), "<u4").reshape(count, -1).copy()
        self.titles = {f"{one.function_name} O{one.level}" for one in tables.versions if (one.number - 1) % 4 == 0}
        table[::4, layouts.offset("bf_version_cost", "cycles") // 4 :] *= 3
        self._costs = table.tobytes()

    def _fetch(self, address: int, size: int) -> bytes:
        data = bytearray(self._memory.read(address, size, "a range"))
        at = self._from - address
        if at >= 0 and at + len(self._costs) <= size:
            data[at : at + len(self._costs)] = self._costs
        return bytes(data)
