"""`bareflow check` of a real guest, while it runs and from its core: the same verdicts, by exit code too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import bareflow

from bareflow_gdb.qemu.machine import Machine

RULES = """
[reaches]
"*" = { tier = 3, by_call = 30 }
[at_most]
exceptions = 0
findings = 0
[pool_below]
code = 80
"""


@pytest.mark.parametrize(
    ("change", "code"), [(("", ""), 0), (("by_call = 30", "by_call = 29"), 1), (("code", "data"), 0)]
)
def test_a_machine_and_its_core_are_held_to_the_same_rules(
    idle_machine: Machine, tmp_path: Path, change: tuple[str, str], code: int
) -> None:
    (tmp_path / "rules.toml").write_text(RULES.replace(*change))
    assert bareflow("core", idle_machine.name, "--out", str(tmp_path / "core")).returncode == 0
    told = []
    for target in (idle_machine.name, str(tmp_path / "core")):
        done = bareflow("check", "--json", target, str(tmp_path / "rules.toml"))
        assert done.returncode == code, done.stderr
        told.append({one["rule"]: one["verdict"] for one in json.loads(done.stdout)["rules"]})
    assert told[0] == told[1] and len(told[0]) >= 15
