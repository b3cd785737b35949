"""Are there stubs in place of modules? Code that returns at once, whatever size is claimed for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import Absent
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.code.straight import LOOKED_AT, returns_after
from bareflow_gdb.guest.stock.headers import headers_in
from bareflow_gdb.guest.stock.window import LOWEST, Window

_LONGEST = 16
"""Bytes that a stub has at most."""
_LEAST_CLAIM = 256


def _look(subject: Subject) -> Iterator[Finding]:
    for name, start, claimed in _claims(subject):
        if claimed < _LEAST_CLAIM:
            continue
        try:
            code = subject.kernel.memory.read(start, LOOKED_AT, f"code of module {name}")
        except BareflowError:
            # That it cannot be read is told by the records.
            continue
        size = returns_after(code, start)
        if 0 < size <= _LONGEST:
            yield Finding(
                severity=WARNING,
                what=f"module {name} is a stub",
                where=f"0x{start:08x}",
                evidence=f"its code returns after {size} bytes without a branch, {claimed:,} are claimed",
                consequence="it computes nothing, and what is behind its code is not its own",
                next_step=f"`disas 0x{start:x}` shows it; build the module's code into the image",
            )


def _claims(subject: Subject) -> list[tuple[str, int, int]]:
    """Name, code and claimed bytes of each module that is loaded, or before any is, of those in the image."""
    kernel = subject.kernel
    try:
        return [(one.name, one.code, one.code_size) for one in kernel.modules().modules if one.loaded]
    except Absent:
        found = [
            (clean(header.name), header.entry_point, header.code_size)
            for _, header in islice(headers_in(Window(kernel.memory)), layouts.const("MAX_MODULES"))
            # Of a header right before its code the entry counts from there: such images are whole.
            if header.entry_point >= LOWEST
        ]
        if not found:
            raise
        return found


CHECK = Check("stubs", "the code of modules against the size that is claimed for it", (KERNEL,), _look)
