"""What is a TARGET, once it is found: what can it be asked, and where is its memory?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.memory.protocol import Memory
    from bareflow_gdb.qemu.machine import Machine


@dataclass(frozen=True)
class Target:
    """Something that questions can be asked of.

    kind: "machine", "gdbstub", "core", "dump", "trace", "disk", "kernel" (its ELF or binary) or "serial".
    """

    kind: str
    description: str
    path: Path | None = None
    machine: Machine | None = None
    trace: Any = None
    source: Memory | None = None
    no_memory: str = (
        "holds no guest memory; give a running machine, a core, a dump or a trace"
        " (if it is a dump, --base ADDRESS says where that begins)"
    )
    notes: tuple[str, ...] = ()
    """What of it is missing, or was guessed, as sentences."""

    @property
    def memory(self) -> Memory:
        """The guest memory; raises UsageError when this target has none."""
        if self.source is None:
            raise UsageError(f"{self.description} {self.no_memory}")
        return self.source


def machine_target(machine: Machine) -> Target:
    """A running machine as a target."""
    return Target("machine", f"machine {machine.name}", machine=machine, source=machine.memory())
