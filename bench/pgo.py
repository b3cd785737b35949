"""What do modules gain that are compiled by their cost in the guest? In instructions: other load does not change them.

The peer is what a kernel is without a profile: all modules at O3.
"""

from __future__ import annotations

import time
from pathlib import Path

from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.iterate import Workshop, iterate
from bareflow_gdb.pgo.plan import Thresholds
from bench.row import Row, row

OVER_O0, OVER_O2 = 3.0, 1.10
MOST_SLOWER = 1.01
MOST_ROUNDS, MOST_SECONDS = 3, 60.0


def measure(image: Path) -> list[Row]:
    """The rows pgo_over_o0, pgo_over_o2, pgo_slowest (against its O2), pgo_rounds, pgo_s.

    Without a goal: pgo_counting, the slowest of the kernel that counts its blocks against its O2, and pgo_arguments,
    over O2 with modules made for their arguments, too.
    """
    started = time.monotonic()
    with Workshop(Firmware.of(image)) as workshop:
        report = iterate(workshop, Thresholds(), lambda _: None)
        seconds = time.monotonic() - started
        made_for_arguments = iterate(workshop, Thresholds(), lambda _: None, arguments=True)
    o2 = report.baselines["O2"]
    slowest = max(now / o2[name] for name, now in report.instructions.items())
    counting = max(cost / o2[name] for name, cost in report.counting.items())
    at_o3 = report.factor("O3")
    over_o0, over_o2 = report.factor("O0"), report.factor("O2")
    return [
        row("pgo_over_o0", over_o0, "x", OVER_O0, "higher", "all at O3", over_o0 / at_o3),
        row("pgo_over_o2", over_o2, "x", OVER_O2, "higher", "all at O3", over_o2 / at_o3),
        row("pgo_slowest", slowest, "x", MOST_SLOWER, "lower"),
        row("pgo_rounds", len(report.rounds), "rounds", MOST_ROUNDS, "lower"),
        row("pgo_s", seconds, "s", MOST_SECONDS, "lower"),
        row("pgo_counting", counting, "x", None, "lower"),
        row("pgo_arguments", made_for_arguments.factor("O2"), "x", None, "higher", "by blocks alone", over_o2),
    ]
