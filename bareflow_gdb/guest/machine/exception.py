"""Which exception did the guest take, where, and with which registers?

Read budget: 1 packet.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import filled, one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.memory.protocol import Memory

NAMES = {
    0: "#DE divide error",
    1: "#DB debug",
    2: "NMI",
    3: "#BP breakpoint",
    4: "#OF overflow",
    5: "#BR bound range exceeded",
    6: "#UD invalid opcode",
    7: "#NM device not available",
    8: "#DF double fault",
    9: "coprocessor segment overrun",
    10: "#TS invalid TSS",
    11: "#NP segment not present",
    12: "#SS stack fault",
    13: "#GP general protection",
    14: "#PF page fault",
    16: "#MF x87 floating-point error",
    17: "#AC alignment check",
    18: "#MC machine check",
    19: "#XM SIMD floating-point exception",
    20: "#VE virtualization exception",
    21: "#CP control protection exception",
}
"""Intel SDM volume 3A, table 6-1."""


@dataclass(frozen=True)
class Registers:
    """What the CPU held when the exception came."""

    eip: Address
    cs: Word
    eflags: Word
    eax: Word
    ecx: Word
    edx: Word
    ebx: Word
    esp: Address
    ebp: Address
    esi: Word
    edi: Word
    cr0: Word
    cr2: Word
    cr3: Word
    cr4: Word


@dataclass(frozen=True)
class ExceptionRecord:
    """`struct bf_exception`: the last exception taken; `count` 0 = none, and the rest is empty."""

    count: int
    vector: int
    name: str
    error_code: Word
    registers: Registers
    tsc: int
    code: str
    """The 16 bytes at EIP, hexadecimal."""


def read_exception(memory: Memory, root: Root) -> ExceptionRecord:
    """Raises BadData when the kernel has no exception record or it was overwritten, ReadError."""
    raw = one(memory, "bf_exception", need(root, "exception", "exception record"), "exception record")
    if raw.magic != layouts.const("BF_EXCEPTION_MAGIC") and (raw.magic or raw.count):
        raise BadData(f"the exception record has magic 0x{raw.magic:08x}, not BFXC: something wrote over it")
    name = NAMES.get(raw.vector, f"vector {raw.vector}") if raw.count else ""
    return filled(ExceptionRecord, raw, name=name, registers=filled(Registers, raw), code=raw.code.hex())
