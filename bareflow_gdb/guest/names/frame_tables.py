"""What do the frame tables of a kernel's ELF (.eh_frame) say: where is the caller's frame, where is its EBP?"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.dwarf.callframe import FDE

from bareflow_gdb.guest.code.callers import FrameRule

_REGISTERS = {4: "esp", 5: "ebp"}
_EBP = 5
"""DWARF numbers of the i386 (System V ABI, table 2.14)."""
_SECTION = ".eh_frame"


def _start(entry: Any) -> int:
    return int(entry["initial_location"])


class FrameTables:
    """The rules by address; decoded when the first is asked for."""

    def __init__(self, elf: Any) -> None:
        entries = [entry for entry in elf.get_dwarf_info().EH_CFI_entries() if isinstance(entry, FDE)]
        self._entries = sorted(entries, key=_start)

    @classmethod
    def of(cls, elf: Any) -> FrameTables | None:
        """None for a file without such tables."""
        section = elf.get_section_by_name(_SECTION)
        if section is None or section["sh_type"] == "SHT_NOBITS" or section["sh_size"] <= 4:
            return None
        return cls(elf)

    def rule(self, address: int) -> FrameRule | None:
        """What holds at this program counter; None where no table says it, or not in a way that can be followed."""
        index = bisect_right(self._entries, address, key=_start) - 1
        if index < 0 or address >= _start(self._entries[index]) + self._entries[index]["address_range"]:
            return None
        try:
            rows = self._entries[index].get_decoded().table
        except (ELFError, LookupError, ValueError, TypeError, AttributeError):
            # Whatever a damaged table holds: the code itself may still tell.
            return None
        held = [row for row in rows if row["pc"] <= address]
        if not held or held[-1]["cfa"].reg not in _REGISTERS:
            return None
        cfa, ebp = held[-1]["cfa"], held[-1].get(_EBP)
        if cfa.offset is None or not -(1 << 31) <= cfa.offset < 1 << 31:
            return None
        saved = ebp.arg if ebp is not None and ebp.type == "OFFSET" else None
        return FrameRule(_REGISTERS[cfa.reg], cfa.offset, saved)
