"""Where does code end whose size no record tells? At the last return before memory that was never written.

A pool of a stock kernel lies in .bss, so that what follows code emitted there is zero. Where code of others follows,
only that is surely its own which reaches to the first return. Read budget: 1 packet for each piece of code that is
within the limit.
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


def extents(memory: Memory, starts: Mapping[Address, int]) -> tuple[dict[Address, int], dict[Address, int]]:
    """Bytes of the code at each address whose end can be seen, and of the others those that are surely its own.

    `starts` say at most how much may be its.
    """
    wanted = [(int(code), min(most, LOOKED_AT), "code of a level") for code, most in starts.items()]
    read = zip(starts, strays(memory, wanted), strict=True)
    seen, own = {}, {}
    for code, data in read:
        if end := written(data or b""):
            seen[code] = end
        else:
            own[code] = (data or b"").find(RET) + 1 or 1
    return seen, own
