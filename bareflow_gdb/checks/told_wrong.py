"""Is what the kernel prints about itself true: where it is loaded, how often a function was called?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import OUTPUT, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.absent import Absent
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.base.loaded import kernel_base
from bareflow_gdb.guest.code.log_lines import calls_told

_PLACE = re.compile(
    r"\b(?:kernel|image)\b.{0,40}?\b(?:load(?:ed)?|base|address|entry|at|start)\b.{0,24}?\b(0x[0-9a-f]{3,8})\b"
    r"|\[boot\] .*\bsectors at (0x[0-9a-f]{3,8})\b",
    re.IGNORECASE,
)
_OF_ANOTHER = re.compile(
    r"heap|stack|pool|module|bss|data|end|top|fault|exception|error|page|table|buffer|disk|sector 0x", re.IGNORECASE
)
"""Words of lines that tell of another place than the kernel's first byte."""
_LONGEST_LINE = 200
_CALL = re.compile(r"\[Call (\d{1,18})\]|^Total calls: (\d{1,18})$|\[ADAPTIVE-JIT\] Initialized", re.MULTILINE)


def _look(subject: Subject) -> Iterator[Finding]:
    said = subject.log if subject.printed is not None else ""
    texts = [text for text in (said, subject.shown or "") if text]
    yield from _place(subject, texts)
    if not _behind(subject):
        yield from _calls(said)


def _behind(subject: Subject) -> bool:
    """Do the counts of a stock kernel stand still? Another check tells that, with its reason."""
    if subject.stock is None or subject.printed is None:
        return False
    told = calls_told(subject.log)
    try:
        entries = subject.kernel.jit().functions
    except Absent:
        return False
    return any(told.get(function.name, 0) > function.calls for function in entries)


def _place(subject: Subject, texts: list[str]) -> Iterator[Finding]:
    try:
        base = kernel_base(subject.kernel.memory)
    except BareflowError:
        return
    if base is None:
        return
    end = base + layouts.const("BF_IMAGE_MAX_SECTORS") * 512
    for line in (line.strip() for text in texts for line in text.splitlines() if len(line) <= _LONGEST_LINE):
        found = _PLACE.search(line)
        told = int(found[1] or found[2], 16) if found and not _OF_ANOTHER.search(line) else base
        if not base <= told < end:
            yield Finding(
                severity=WARNING,
                what=f"the kernel says that it is at 0x{told:x}, and is at 0x{base:x}",
                where=f"0x{base:08x}",
                evidence=f"it printed {line!r}; its signature is at 0x{base:08x}",
                consequence="whoever sets a breakpoint or loads symbols by it looks at the wrong place",
                next_step="print the linker's symbol instead of a number",
            )
            return


def _calls(log: str) -> Iterator[Finding]:
    """Statistics that count fewer calls than were told one by one before."""
    most = 0
    for found in _CALL.finditer(log):
        if found[1]:
            most = max(most, int(found[1]))
        elif not found[2]:
            most = 0
        elif int(found[2]) < most:
            yield Finding(
                what=f"the statistics count {int(found[2]):,} calls, and call {most:,} was made before",
                evidence=f"it printed {found[0]!r} after `[Call {most}]`",
                consequence="the profiler and the log disagree: calls are made that nobody counts",
                next_step="`profile` shows the counts, `checks` whether JIT code spoils a register of its caller",
            )
            return


CHECK = Check("told_wrong", "what the kernel printed of its place and its calls", (OUTPUT,), _look)
