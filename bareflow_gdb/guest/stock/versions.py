"""By which numbers does a trace name the code of a stock kernel, which numbers no versions itself?

Each function has one code per level, and what the suite installed: the same code has the same number in every trace of
a kernel, whatever of it was seen.
"""

from __future__ import annotations

import zlib

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.values import NOWHERE, Address, Word
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.code.jit_code import LARGEST
from bareflow_gdb.guest.stock.jit import THRESHOLDS, Entry
from bareflow_gdb.guest.stock.records import Records
from bareflow_gdb.memory.protocol import Memory

_LEVELS = 4
_FROM_HOST = 1000
_OF_FUNCTION = 100


def version_of_level(function: int, level: int) -> int:
    """Of the code that the kernel made at a level."""
    return function * _LEVELS + level + 1


def version_of_host(function: int, number: int) -> int:
    """Of the piece of code with that number that the suite put into a function's buffer."""
    return _FROM_HOST + function * _OF_FUNCTION + number


def reason_of_level(entry: Entry, level: int) -> str:
    """Why a level was made, a word of `enum bf_reason`: by the default thresholds, as its own are not in its data."""
    if level == 0:
        return "initial"
    return "threshold" if entry.calls >= THRESHOLDS[level - 1] else "none"


def stock_versions(memory: Memory, records: Records) -> tuple[Version, ...]:
    """All code in memory that the adaptive JIT made, or the suite for it. Raises BadData, ReadError."""
    sizes = records.own_code()
    found: list[Version] = []
    for entry in records.entries().entries:
        for level, code in enumerate(entry.level_codes):
            if code:
                numbered = version_of_level(entry.index, level)
                reason = reason_of_level(entry, level)
                found.append(_version(memory, entry, numbered, level, reason, code, code, sizes.get(code, 0)))
        for one in entry.installed:
            numbered = version_of_host(entry.index, one.number)
            place = (one.code, one.entry, one.code_size)
            found.append(_version(memory, entry, numbered, one.level, "host_asked", *place))
    return tuple(found)


def _version(
    memory: Memory, entry: Entry, number: int, level: int, reason: str, code: Address, start: Address, size: int
) -> Version:
    size = min(size, LARGEST)
    try:
        data = memory.read(code, size, f"code of {entry.name}")
    except ReadError:
        data, size = b"", 0
    return Version(
        number=number,
        function=entry.index,
        function_name=entry.name,
        level=level,
        state="published" if start == entry.current_code else "emitted",
        reason=reason,
        provider="none",
        code=code,
        code_size=size,
        code_crc=Word(zlib.crc32(data)),
        rodata=NOWHERE,
        rodata_size=0,
        entry=start,
        tsc_published=0,
        tsc_first=0,
        tsc_retired=0,
        same_as=0,
        asked_at_call=0,
        tsc_asked=0,
    )
