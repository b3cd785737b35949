"""What does the kernel count while it runs, and how fast is its clock?

Read budget: 1 packet.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import filled, one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import NOWHERE, Address, words
from bareflow_gdb.memory.protocol import Memory


@dataclass(frozen=True)
class Counters:
    """`struct bf_status` of bareflow.h, without the figures of the benchmarks."""

    tsc_hz: int
    """TSC ticks per second, 0 = not measured yet."""
    function_count: int
    version_count: int
    """Versions ever made; the newest version's number."""
    swap_count: int
    """Publishing stores ever made."""
    irq_count: int
    idle_loops: int
    com1_divisor: int = 0
    """As read back from the UART; 0 = this kernel does not tell."""
    version_costs: Address = NOWHERE
    """The table of what the calls of each version took; 0 = this kernel keeps none."""
    cpu_features: tuple[str, ...] | None = None
    """The vector instructions that code may have: the CPU has them, and they are switched on. None = not told."""


def read_counters(memory: Memory, root: Root) -> Counters:
    """Raises BadData when the kernel has no status record, ReadError."""
    raw = one(memory, "bf_status", need(root, "status", "status record"), "status record")
    return filled(
        Counters,
        raw,
        com1_divisor=raw.com1_divisor if root.tells(1) else 0,
        version_costs=Address(raw.version_costs if root.tells(3) else 0),
        cpu_features=words("bf_feature", raw.cpu_features) if root.tells(4) else None,
    )
