"""Which generation of the stock layouts is this? Module profiles have 84, 76 or 72 bytes.

The records of all generations are decoded to one; what an older one does not have is None.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import filled


@dataclass(frozen=True)
class Generation:
    """One layout of the module manager."""

    profile_bytes: int
    """Bytes of one module's record, by which the generation is called."""
    manager: str
    """The struct's name in stock_kernel.h."""

    @property
    def size(self) -> int:
        """Bytes of the whole manager."""
        return layouts.size(self.manager)

    @property
    def count_at(self) -> int:
        """Bytes from the manager's start to num_modules."""
        return layouts.offset(self.manager, "num_modules")


GENERATIONS = (
    Generation(84, "module_manager"),
    Generation(76, "module_manager_76"),
    Generation(72, "module_manager_72"),
)
NEWEST = GENERATIONS[0]


@dataclass(frozen=True, kw_only=True)
class ModuleRecord:
    """`module_profile_t` of any generation."""

    name: bytes
    code_ptr: int
    call_count: int
    total_cycles: int
    min_cycles: int
    max_cycles: int
    sum_of_squares: int | None = None
    """None before 84 bytes."""
    code_size: int
    loaded: int = 1
    """0 or 1; a record of 72 bytes is always one of a loaded module."""


@dataclass(frozen=True)
class ManagerRecord:
    """`module_manager_t` of any generation; all 16 records, in use or not."""

    modules: tuple[ModuleRecord, ...]
    num_modules: int
    total_calls: int


def decode_manager(generation: Generation, data: bytes) -> ManagerRecord:
    """The manager at the start of `data`; raises BadData when there are too few bytes."""
    raw = layouts.unpack(generation.manager, data)
    return filled(ManagerRecord, raw, modules=tuple(filled(ModuleRecord, record) for record in raw.modules))
