"""Does the kernel's data lie over its stack? By its ELF's sections, else by what its entry code clears."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import REGISTERS, STOCK, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.names.elf import zeroed_sections
from bareflow_gdb.guest.stock.entry import entry_of
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START

_WORD = 4


def _look(subject: Subject) -> Iterator[Finding]:
    entry = entry_of(subject.kernel.memory)
    elf = subject.kernel.elf().path
    if elf is not None:
        regions = [(name, start, end, f"by {elf.name}") for name, start, end in zeroed_sections(elf)]
    elif entry.cleared is not None:
        regions = [("data", *entry.cleared, "that is what its entry code clears")]
    else:
        return
    top = entry.stack or layouts.const("BF_STACK_TOP")
    esp = min(_esp(subject) or top, top) - _WORD
    for name, start, end, known in regions:
        if start < top and end > esp:
            screen = start < DEVICES_END and end > DEVICES_START
            yield Finding(
                what=f"the kernel's {name} lies over its stack",
                where=f"0x{start:08x}-0x{end:08x}",
                evidence=f"{known}, and the stack begins at 0x{top:08x}"
                + (f"; the screen, 0x{DEVICES_START:x}-0x{DEVICES_END:x}, is in it too" if screen else ""),
                consequence="calls overwrite the data, and storing there overwrites locals and return addresses",
                next_step="`stack` shows what is on it; move the stack above the data, or make the data smaller",
            )


def _esp(subject: Subject) -> int:
    """The stack pointer in protected mode; 0 = no registers tell, or asking would stop the guest."""
    if subject.asking_stops or subject.lacks(REGISTERS) or not subject.registers.control["cr0"] & 1:
        return 0
    return subject.registers.general["esp"]


CHECK = Check("data_over_stack", "the kernel's data that begins as zeros, against its stack", (STOCK,), _look)
