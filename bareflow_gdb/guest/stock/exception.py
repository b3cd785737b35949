"""Which exception does a stock kernel take, seen at the first instruction of its handler?

Such a kernel keeps no record of it. But at that moment the CPU has pushed EFLAGS, CS, EIP and perhaps an error code
(Intel SDM volume 3A, 6.12.1 and 6.13), and every other register is as it was. Read budget: 2 packets.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.guest.machine.cpu import named_registers
from bareflow_gdb.guest.machine.descriptors import Gate
from bareflow_gdb.guest.machine.exception import ExceptionRecord
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.protocol import Memory

EXCEPTIONS = 32
_WITH_ERROR_CODE = {8, 10, 11, 12, 13, 14, 17, 21}
"""Intel SDM volume 3A, table 6-1."""
_CODE_BYTES = 16


def exception_at(memory: Memory, raw: CpuRegisters, gates: Sequence[Gate]) -> ExceptionRecord:
    """`gates`: those whose handler EIP is at, more than one when exceptions share it. Raises ReadError."""
    esp = raw.general["esp"]
    words = struct.unpack("<4I", memory.read(esp, 16, "what the CPU pushed"))
    # Only one of the two places can hold the code segment that all of this kernel runs in.
    coded = words[1] != raw.segments["cs"].selector and words[2] == raw.segments["cs"].selector
    eip, cs, eflags = words[coded : coded + 3]
    possible = [gate for gate in gates if (gate.vector in _WITH_ERROR_CODE) == coded] or list(gates)
    registers = dataclasses.replace(
        named_registers(raw), eip=Address(eip), cs=Word(cs), eflags=Word(eflags), esp=Address(esp + 4 * (3 + coded))
    )
    try:
        code = memory.read(eip, _CODE_BYTES, "code at the exception").hex()
    except ReadError:
        code = ""
    return ExceptionRecord(
        count=1,
        vector=possible[0].vector,
        name=possible[0].meaning if len(possible) == 1 else "one of several that share a handler",
        error_code=Word(words[0] if coded else 0),
        registers=registers,
        tsc=0,
        code=code,
    )
