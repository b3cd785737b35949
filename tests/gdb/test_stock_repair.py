"""A stock kernel whose micro-JIT breaks its caller is repaired while it runs, from gdb: field/adaptive_jit.c."""

from __future__ import annotations

import re
from pathlib import Path

from gdb_harness import Gdb
from machines import SECONDS, Boot

from bareflow_gdb.guest.boot.wait import wait_for_serial

SOURCE = """
int fibonacci_main(int a, int b) {
    int before = 0, now = 1;
    for (int left = 20; left > 0; left--) { int next = before + now; before = now; now = next; }
    return before;
}
"""


def test_the_broken_code_of_a_stock_kernel_is_repaired_while_it_runs(
    gdb: Gdb, firmware: Path, launched: Boot, tmp_path: Path
) -> None:
    fix = tmp_path / "fix.c"
    fix.write_text(SOURCE)
    stock = firmware / "stock"
    machine = launched(stock / "field_microjit.img", with_disk=False, paused=True)
    result = gdb.run(
        f"bf attach {machine.name}",
        "thbreak adaptive_jit_execute",
        "continue",
        "bf break-swap",
        "continue",
        "delete",
        f"bf recompile fibonacci --from {fix} --stop",
        f"bf recompile fibonacci --from {fix}",
        "bf status",
        "bf swap rollback fibonacci",
        "bf swap rollback fibonacci #1",
        "bf swap veto fibonacci",
        "bf break jit:fibonacci",
        "continue",
        "bt",
        "delete",
        "detach",
        elf=stock / "field_microjit.elf",
    )
    said = result.out + result.err
    assert "Traceback" not in said
    assert re.search(r"fibonacci@O3 #1 installed, \d+ bytes at 0x", result.out), said
    assert "the replaced code overwrites EBX of its caller, the new one keeps it" in result.out
    assert "verified    as fibonacci@O1 with" in result.out
    assert "fibonacci@O3 #1 → fibonacci@O1; the kernel's own code runs again" in result.out
    assert "fibonacci@O1 → fibonacci@O3 #1;" in result.out
    assert "--stop is for kernels with a mailbox" in result.err and "it knows no veto" in result.err
    assert re.search(r"#0 .* in fibonacci@O3 #1 \(\)\n#1 .* in adaptive_jit_execute \(\)", result.out), said
    wait_for_serial(machine, "--- END JSON ---", SECONDS)
    # Without the repair the count stands still at the swap: field/adaptive_jit.c, and test_stock_field.py.
    assert "Total calls: 150" in machine.serial()
