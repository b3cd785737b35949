"""Where do calls and fixed addresses in JIT code lead: to exports, to shared data, to the module's own parts?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.exports import read_exports, read_symbols
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.functions import Function, Version
from bareflow_gdb.guest.code.paths import Step
from bareflow_gdb.guest.modules.placed import Bases, read_bases

_FIXED = re.compile(r"\bptr \[(0x[0-9a-f]+)\]")
"""A memory operand without a register or segment."""

_Span = tuple[int, int]


def _look(subject: Subject) -> Iterator[Finding]:
    root = subject.kernel.need_interface("it keeps no versions")
    memory = subject.kernel.memory
    exports = read_exports(memory, root)
    callable_ = {int(symbol.address) for symbol in exports}
    everywhere = [(int(one.address), one.address + one.size) for one in exports if one.size]
    if root.variant == "unikernel":
        # An application is one program: its data lies in the kernel's image.
        everywhere.append((root.image_base, root.image_end))
    bases = read_bases(memory, root, subject.modules.count) if root.module_images else []
    versions = {version.number: version for version in subject.versions}
    for one in subject.walked:
        version = versions.get(one.code.version or 0)
        if version is None or version.function >= len(subject.functions):
            continue
        spans = [*everywhere, *_own(version, subject.functions[version.function], bases, subject)]
        for step in one.paths.steps.values():
            wrong = _astray(step, callable_, spans)
            if wrong:
                yield Finding(
                    what=f"{version.title} {wrong}",
                    where=f"0x{step.address:08x}",
                    evidence=f"`{step}`; known are the kernel's exports, the data that its versions share, and its own "
                    "code and read-only data",
                    consequence="it runs, reads or overwrites what belongs to something else",
                    next_step=f"`disas {version.function_name}` shows the code; look at how it is relocated",
                )
                break


def _own(version: Version, function: Function, bases: Sequence[Bases], subject: Subject) -> Iterator[_Span]:
    """What belongs to this version: code, read-only data, and what all versions of the function share."""
    yield version.code, version.code + version.code_size
    yield version.rodata, version.rodata + version.rodata_size
    symbols = read_symbols(
        subject.kernel.memory, function.symbols, function.symbol_count if function.symbols else 0, "shared data", []
    )
    yield from ((int(one.address), one.address + max(one.size, 1)) for one in symbols)
    if function.module is not None and function.module < len(bases):
        data = bases[function.module]["data"]
        block = next((block for _, block in subject.blocks if block.address == data), None)
        if block is not None:
            yield block.address, block.end


def _astray(step: Step, callable_: set[int], spans: Sequence[_Span]) -> str:
    if step.leaves is not None and step.leaves not in callable_:
        verb = "calls" if step.mnemonic == "call" else "jumps to"
        return f"{verb} 0x{step.leaves:08x}, which no export begins at"
    for digits in _FIXED.findall(step.operands) if step.mnemonic != "lea" else ():
        address = int(digits, 16)
        if not any(start <= address < end for start, end in spans):
            return f"uses memory at 0x{address:08x}, which is not its own"
    return ""


CHECK = Check("code_targets", "calls, jumps and fixed addresses in JIT code that lead out of it", (ROOT,), _look)
