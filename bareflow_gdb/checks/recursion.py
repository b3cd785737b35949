"""Has a function called itself until the stack was full? The same return address, over and over, tells."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import MEMORY, REGISTERS, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.callers import call_before
from bareflow_gdb.memory.protocol import DEVICES_START

_BYTES = 4096
_LEAST = 40
"""So often on 4 KB of stack: frames of a hundred bytes; a recursion that ends is rarely half as deep."""
_NOTHING_ELSE = 512
"""So often there is nothing else there: a function without locals that calls itself."""
_MOST_LOOKED_AT = 8
_DEEP = 32 << 10
_LOWEST = 0x1000


def _look(subject: Subject) -> Iterator[Finding]:
    registers = subject.registers
    if not registers.control["cr0"] & 1:
        return
    top = layouts.const("BF_STACK_TOP")
    esp = registers.segments["ss"].base + registers.general["esp"] & 0xFFFFFFFC
    if top - _DEEP <= esp <= top:
        return
    # Where the stack has grown to, and where it was deep already: what runs at last may use ESP for anything.
    for start in (esp, top - 2 * _BYTES):
        found = _repeated(subject, start) if _LOWEST <= start < top else None
        if found is not None:
            yield _finding(subject, *found, esp)
            return


def _repeated(subject: Subject, start: int) -> tuple[int, int] | None:
    """A return address that stands there over and over, and how often."""
    memory = subject.kernel.memory
    try:
        data = memory.read(start, _BYTES, "stack")
    except BareflowError:
        return None
    words = Counter(word for (word,) in struct.iter_unpack("<I", data) if _LOWEST <= word < DEVICES_START)
    for address, count in words.most_common(_MOST_LOOKED_AT):
        # The call may have been overwritten by now, by its own return addresses.
        if count >= _LEAST and (call_before(memory, address) is not None or count >= _NOTHING_ELSE):
            return address, count
    return None


def _finding(subject: Subject, address: int, count: int, esp: int) -> Finding:
    name = subject.kernel.identify(address).name
    return Finding(
        what=f"{name or 'a function'} calls itself without end",
        where=f"0x{address:08x}",
        evidence=f"that return address stands {count} times on {_BYTES:,} bytes of stack, ESP is 0x{esp:08x}",
        consequence="the stack grows over what lies below it: tables, data, at last the code",
        next_step=f"`disas 0x{address:x}` shows the call; look at the condition that should end it",
    )


CHECK = Check("recursion", "return addresses that stand on the stack over and over", (MEMORY, REGISTERS), _look)
