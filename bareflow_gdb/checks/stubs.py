"""Are there stubs in place of modules? Code that returns at once, whatever size is claimed for it."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.code.straight import LOOKED_AT, returns_after

_LONGEST = 16
"""Bytes that a stub has at most."""
_LEAST_CLAIM = 256


def _look(subject: Subject) -> Iterator[Finding]:
    for module in subject.kernel.modules().modules:
        if not module.loaded or module.code_size < _LEAST_CLAIM:
            continue
        try:
            code = subject.kernel.memory.read(module.code, LOOKED_AT, f"code of module {module.name}")
        except BareflowError:
            # That it cannot be read is told by the records.
            continue
        size = returns_after(code, module.code)
        if 0 < size <= _LONGEST:
            yield Finding(
                severity=WARNING,
                what=f"module {module.name} is a stub",
                where=f"0x{module.code:08x}",
                evidence=f"its code returns after {size} bytes without a branch, {module.code_size:,} are claimed",
                consequence="it computes nothing, and what is behind its code is not its own",
                next_step=f"`disas 0x{module.code:x}` shows it; build the module's code into the image",
            )


CHECK = Check("stubs", "the code of modules against the size that is claimed for it", (KERNEL,), _look)
