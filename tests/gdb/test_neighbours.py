"""Other people's scripts in the same gdb (GEF, gdb-dashboard and their like): none takes anything from the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from machines import Boot

# As such scripts do: a panel at each stop, a prompt, hooks of gdb's, and names of all kinds in gdb's one Python.
NEIGHBOUR = """
import sys, types, gdb
for name in ("questions", "render", "memory", "guest", "errors", "files", "foreign", "checks", "elftools_of_mine"):
    sys.modules[name] = types.ModuleType(name)
Session = Sessions = plugin = commands = Guest = layouts = registry = gdb_ui = "mine"
def panel(event):
    frame = gdb.newest_frame()
    print("PANEL", frame.name(), hex(frame.pc()), len(gdb.selected_inferior().read_memory(frame.pc(), 16)))
gdb.events.stop.connect(panel)
gdb.prompt_hook = lambda current: "mine> "
class Context(gdb.Command):
    def __init__(self):
        super().__init__("context", gdb.COMMAND_USER)
    def invoke(self, argument, from_tty):
        panel(None)
Context()
gdb.execute("define hook-stop\\necho MINE STOPPED\\\\n\\nend")
gdb.execute("define hookpost-monitor\\necho MINE MONITOR\\\\n\\nend")
"""


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_script_with_panels_prompt_and_hooks_of_its_own(gdb: Gdb, booted: Boot, tmp_path: Path, order: str) -> None:
    machine = booted(stage="registered", hold=1)
    neighbour = tmp_path / "neighbour.py"
    neighbour.write_text(NEIGHBOUR)
    scripts = [neighbour, SCRIPT] if order == "before" else [SCRIPT, neighbour]
    said = gdb.run(
        *(f"source {script}" for script in scripts),
        f"bf attach {machine.name}",
        "bf break jit:sum@O1",
        "bf release",
        "continue",
        "stepi",
        "bf jitsym",
        "backtrace 2",
        "context",
        "monitor info version",
        "bf swaps",
        "bf doctor",
        "python print(gdb.prompt_hook(None), Session, registry)",
        suite=False,
        elf=KERNEL,
    )
    for text in (said.out, said.err):
        assert "Traceback" not in text and "Python Exception" not in text and "Error" not in text
    assert "Breakpoint 1, 0x" in said.out and "in sum@O1 ()" in said.out
    assert said.out.count("PANEL sum@O1 0x") >= 3
    assert said.out.count("MINE STOPPED") >= 2 and "MINE MONITOR" in said.out
    assert "#1  0x" in said.out and "in adaptive_jit_call" in said.out
    assert "under way" in said.out or "fibonacci" in said.out
    assert "Doctor: nothing fails" in said.out
    assert "mine>  mine mine" in said.out
