"""Has the kernel given up its pools? Then what is told of them is what it left."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import STOCK, Subject
from bareflow_gdb.guest.base.absent import TORN_DOWN
from bareflow_gdb.guest.base.finding import NOTE, Finding


def _look(subject: Subject) -> Iterator[Finding]:
    down = [pool for pool in subject.kernel.pools().pools if pool.torn_down]
    if not down:
        return
    held = sum(max(pool.allocations - pool.frees, 0) for pool in down)
    yield Finding(
        severity=NOTE,
        what=f"the pools are {TORN_DOWN}",
        where=", ".join(pool.kind for pool in down),
        evidence="base 0; sizes, lists and statistics are as before: "
        f"{sum(pool.allocations for pool in down):,} blocks allocated, {sum(pool.frees for pool in down):,} freed",
        consequence=f"{held:,} blocks were still in use" if held else "nothing in them is in use any more",
        next_step="`pools` shows the statistics of before; a breakpoint before the shutdown shows the blocks",
    )


CHECK = Check("torn_down", "pools that the kernel has shut down", (STOCK,), _look)
