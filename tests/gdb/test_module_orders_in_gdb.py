"""`bf module` in both gdbs: a stopped guest runs until the order is carried out, and is stopped again."""

from __future__ import annotations

from pathlib import Path

from gdb_harness import KERNEL, Gdb
from machines import Boot

from bareflow_gdb.guest.boot.wait import wait_for_stage

IMAGES = Path(__file__).parents[2] / "build" / "firmware" / "modules"


def test_a_module_is_reloaded_in_a_stopped_guest_which_is_stopped_again(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="registered", hold=1)
    result = gdb.run(
        f"bf attach {machine.name}",
        f"bf module reload {IMAGES}/primes.O2.mod",
        f"bf module load {IMAGES}/primes.O2.mod",
        "bf module unload primes",
        "info breakpoints",
        'info symbol *(unsigned *) $bf_func("primes")',
        "bf status",
        "bf release",
        "detach",
        elf=KERNEL,
    )
    assert "module primes reloaded, O2, " in result.out
    assert "primes@O0 #4 → primes@O2 #13, the version before it is retired" in result.out
    assert "load was not done, the guest refused: it is loaded already; reload it" in result.out
    assert "unload was not done, the guest refused: it is a function of the adaptive JIT" in result.out
    assert "primes@O2" in result.out and "No breakpoints" in result.out and "registered (held)" in result.out
    assert "Traceback" not in result.out + result.err
    wait_for_stage(machine, "idle")
