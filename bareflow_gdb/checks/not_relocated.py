"""Does a module's code name addresses as if it lay at 0? Then it was linked there, and never relocated."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.paths import Step, reachable
from bareflow_gdb.guest.modules.modules import Module

_LOWEST = 0x1000
"""Nothing of a kernel or module lies below."""
_ALONE = re.compile(r"\bptr \[(0x[0-9a-f]+|\d)\]")
_SCALED = re.compile(r"\bptr \[e\w\w\*[48] \+ (0x[0-9a-f]+)\]")
_MOST_BYTES = 1 << 16


def _look(subject: Subject) -> Iterator[Finding]:
    for module in () if subject.implausible else subject.kernel.modules().modules:
        if not module.loaded or not module.code or module.code < _LOWEST:
            continue
        size = module.code_size if 0 < module.code_size <= _MOST_BYTES else 0
        if not size:
            continue
        try:
            code = subject.kernel.memory.read(module.code, size, f"code of module {module.name}")
        except BareflowError:
            continue
        found = [
            (step, address)
            for step in reachable(code, module.code, module.code, lambda _: None).values()
            if (address := _low(step)) is not None
        ]
        if found:
            yield _finding(module, found)


def _low(step: Step) -> int | None:
    """The small address that it reads or writes by; None = it does not."""
    if step.mnemonic == "lea":
        return None
    match = _ALONE.search(step.operands) or _SCALED.search(step.operands)
    address = int(match[1], 16) if match else _LOWEST
    return address if address < _LOWEST else None


def _finding(module: Module, found: list[tuple[Step, int]]) -> Finding:
    step, address = found[0]
    return Finding(
        what=f"module {module.name} is linked at 0 and was not relocated",
        where=f"0x{step.address:08x}",
        evidence=f"`{step}` uses memory at 0x{address:x}; {len(found)} instructions of its code use memory below "
        f"0x{_LOWEST:x}, where the interrupt vectors and the data of the BIOS are",
        consequence="it overwrites them, and computes with what it finds there",
        next_step=f"`disas 0x{module.code:x}` shows its code; add the load address to each absolute reference, or "
        "compile it position-independent",
    )


CHECK = Check("not_relocated", "addresses in the code of modules that are as if it lay at 0", (KERNEL,), _look)
