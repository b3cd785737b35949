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
_DEEP = 32 << 10
_LOWEST = 0x1000


def _look(subject: Subject) -> Iterator[Finding]:
    registers = subject.registers
    if not registers.control["cr0"] & 1:
        return
    memory = subject.kernel.memory
    top = layouts.const("BF_STACK_TOP")
    esp = registers.segments["ss"].base + registers.general["esp"] & 0xFFFFFFFC
    if not _LOWEST <= esp < top - _DEEP:
        return
    try:
        data = memory.read(esp, min(_BYTES, top - esp), "stack")
    except BareflowError:
        return
    words = Counter(word for (word,) in struct.iter_unpack("<I", data) if _LOWEST <= word < DEVICES_START)
    for address, count in words.most_common(8):
        if count < _LEAST or call_before(memory, address) is None:
            continue
        place = subject.kernel.identify(address)
        name = place.name or "a function"
        yield Finding(
            what=f"{name} calls itself without end" if place.name else "a function calls itself without end",
            where=f"0x{address:08x}",
            evidence=f"that return address stands {count} times on the last {len(data):,} bytes of a stack of "
            f"{top - esp:,}, ESP is 0x{esp:08x}",
            consequence="the stack grows over what lies below it: tables, data, at last the code",
            next_step=f"`disas 0x{address:x}` shows the call; look at the condition that should end it",
        )
        return


CHECK = Check("recursion", "return addresses that stand on the stack over and over", (MEMORY, REGISTERS), _look)
