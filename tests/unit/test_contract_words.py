"""Words of commands that are written down, since gdb cannot read the contract at its start: they are its words."""

from __future__ import annotations

import ast
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest import scenario
from bareflow_gdb.guest.base.values import word

GDB_UI = Path(scenario.__file__).parents[1] / "gdb_ui"


def test_scenarios() -> None:
    numbers = sorted(layouts.enum_values("bf_scenario").values())
    assert list(scenario.NAMES) == [word("bf_scenario", number).replace("_", "-") for number in numbers]
    assert [scenario.number(name) for name in scenario.NAMES] == numbers


def test_phases() -> None:
    # Only gdb can import the file.
    tree = ast.parse((GDB_UI / "swap_phases.py").read_text())
    (written,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PHASES"
    ]
    numbers = sorted(layouts.enum_values("bf_swap_phase").values())
    assert written == tuple(word("bf_swap_phase", number) for number in numbers if number)
