"""Where does code end whose size no record tells? At the last return before memory that was never written.

A pool of a stock kernel lies in .bss, so that what follows code emitted there is zero. Read budget: 1 packet for each
piece of code that is within the limit.
"""

from __future__ import annotations

from collections.abc import Mapping

from bareflow_gdb.guest.base.reading import strays
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.prologue import RET
from bareflow_gdb.memory.protocol import Memory

LOOKED_AT = 2048
_UNWRITTEN = bytes(16)


def written(data: bytes) -> int:
    """Bytes up to the last `ret` before 16 zeros; 0 = the end is not in these bytes."""
    end = data.find(_UNWRITTEN)
    return data.rfind(RET, 0, end) + 1 if end > 0 else 0


def extents(memory: Memory, starts: Mapping[Address, int]) -> dict[Address, int]:
    """Bytes of the code at each address, as far as its end can be seen; `starts` say at most how much may be its."""
    wanted = [(int(code), min(most, LOOKED_AT), "code of a level") for code, most in starts.items()]
    read = strays(memory, wanted)
    found = {code: written(data or b"") for code, data in zip(starts, read, strict=True)}
    return {code: size for code, size in found.items() if size}
