"""Where do calls go? Each function's code pointer against the code that is there, and its place in memory."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.functions import version_at
from bareflow_gdb.guest.code.jit import JitFunction
from bareflow_gdb.guest.code.jit_code import IN_MEMORY
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START

_LOW = 0xFFFF
_WORD = 4


def _look(subject: Subject) -> Iterator[Finding]:
    for function in subject.jit.functions:
        yield from _place(function, subject)
        if function.publishing is None and function.agrees is False:
            yield from _astray(function, subject)


def _place(function: JitFunction, subject: Subject) -> Iterator[Finding]:
    """Is the pointer itself where one store can change it?"""
    slot = function.slot
    pool = next((kind for kind, block in subject.blocks if block.start <= slot < block.end), "")
    why = ""
    if slot % _WORD:
        why = "it is not aligned: a store of it may be seen in two halves"
    elif DEVICES_START <= slot < DEVICES_END:
        why = "it is in device memory"
    elif pool == "code":
        why = "it is among the code: each store of it stops the CPU from running on from its caches"
    if why:
        yield Finding(
            what=f"the code pointer of {function.name} is in the wrong place",
            where=f"0x{slot:08x}",
            evidence=why,
            consequence="a swap is not atomic, or not quick, there",
            next_step="`jit` shows the pointers; keep them in aligned words of the kernel's data",
        )


def _astray(function: JitFunction, subject: Subject) -> Iterator[Finding]:
    """Calls do not go to the published version; where else, unless to another one of its entries."""
    current = function.current_code
    if any(one.entry == current and one.state in IN_MEMORY for one in function.versions):
        return
    yield Finding(
        what=f"calls of {function.name} go astray",
        where=f"code pointer 0x{function.slot:08x}",
        evidence=f"it holds 0x{current:08x}: {_what_is_there(function, subject)}",
        consequence="the next call runs whatever bytes are there",
        next_step=f"`identify 0x{current:x}` says what it is; `bf watch` stops at the store that does it",
    )


def _what_is_there(function: JitFunction, subject: Subject) -> str:
    current = function.current_code
    entries = {int(one.entry): one for one in subject.versions if one.entry}
    halves = [
        (low, high)
        for low in function.versions
        for high in function.versions
        if low is not high and current == high.entry & ~_LOW | low.entry & _LOW
    ]
    if current not in entries and halves:
        low, high = halves[-1]
        return f"a torn store, the upper half of {high.title} and the lower half of {low.title}"
    at = entries.get(current) or version_at(subject.versions, current)
    if at is not None and at.state not in IN_MEMORY:
        return f"code of {at.title}, which is {at.state}"
    if at is not None and at.entry == current:
        return f"the entry of {at.title}, another function"
    if at is not None:
        return f"inside of {at.title}, which begins at 0x{at.entry:08x}"
    block = next((block for _, block in subject.blocks if block.start <= current < block.end), None)
    if block is None:
        return "in no block of a JIT pool"
    return f"in a block that is {block.state}" + (f", of {block.owner_name}" if block.owner_name else "")


CHECK = Check("code_pointers", "where code pointers are and where calls go by them", (ROOT,), _look)
