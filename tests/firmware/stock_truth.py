"""What does a stock guest hold by the debug information of its twin alone, asked through gdb without the suite?"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from machines import SECONDS

from bareflow_gdb.qemu.machine import Machine

# Run by gdb with the twin's debug information: what its locals hold, by DWARF alone.
TRUTH = """
import gdb, json
frame = gdb.newest_frame()
while frame.name() != "kernel_main":
    frame = frame.older()
frame.select()
def value(text): return int(gdb.parse_and_eval(text))
def name(text): return gdb.parse_and_eval(text).string()
found = {}
try:
    found["jit"] = value("(unsigned)&jit")
    found["manager"] = value("(unsigned)&manager")
    found["modules"] = [
        [name(f"manager.modules[{i}].name")] + [value(f"manager.modules[{i}].{field}") for field in (
            "code_ptr", "code_size", "call_count", "total_cycles", "max_cycles", "loaded")]
        for i in range(value("manager.num_modules"))]
    found["functions"] = [
        [name(f"jit.profiler.functions[jit.functions[{i}].profiler_id].name")]
        + [value(f"jit.functions[{i}].{field}") for field in (
            "compiled_level", "code_v0", "code_v1", "code_v2", "code_v3", "current_code")]
        + [value(f"(unsigned)&jit.functions[{i}].current_code")]
        for i in range(value("jit.function_count"))]
    found["profile"] = [
        [name(f"jit.profiler.functions[{i}].name")] + [value(f"jit.profiler.functions[{i}].{field}") for field in (
            "address", "call_count", "total_cycles", "max_cycles", "opt_level", "is_hot")]
        for i in range(value("jit.profiler.function_count"))]
except gdb.error:
    found["address"] = value("(unsigned)&profile")
    found["entries"] = [
        [name(f"profile.entries[{i}].name")] + [value(f"profile.entries[{i}].{field}") for field in (
            "call_count", "total_cycles", "min_cycles", "max_cycles")]
        for i in range(value("profile.num_functions"))]
found["pools"] = value("(unsigned)&g_pools")
found["stats"] = [[value(f"(unsigned)g_pools[{i}].base")] + [value(f"g_pools[{i}].{field}") for field in (
    "total_size", "stats.used", "stats.free", "stats.num_allocations", "stats.peak")] for i in range(3)]
print("TRUTH " + json.dumps(found))
"""


def truth(firmware: Path, kernel: str, machine: Machine, folder: Path) -> dict[str, Any]:
    """Of the ended machine of this kernel; the script that gdb runs is put into the folder."""
    return truth_at(firmware, kernel, str(machine.gdb_socket), folder)


def truth_at(firmware: Path, kernel: str, target: str, folder: Path) -> dict[str, Any]:
    """The same of any gdbstub, by what `target remote` is given."""
    script = folder / "truth.py"
    script.write_text(TRUTH)
    command = ["/usr/bin/gdb", "-nx", "-batch", str(firmware / "stock" / f"{kernel}_twin.elf")]
    command += ["-ex", f"target remote {target}", "-x", str(script)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("TRUTH ")), "")
    assert line, done.stdout + done.stderr
    return dict(json.loads(line.removeprefix("TRUTH ")))
