"""What did the decoders themselves find wrong in the kernel's records?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import MEMORY, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding

_SINCE = {
    "boot": "NONE",
    "modules": "MODULES",
    "pools": "POOLS",
    "jit": "REGISTERED",
    "profile": "REGISTERED",
    "cache": "REGISTERED",
}
"""Before that stage the kernel has not set up what the question reads."""

_NOT_HERE = (" begins at 0x", "the oldest are gone")


def _look(subject: Subject) -> Iterator[Finding]:
    kernel = subject.kernel
    if subject.implausible:
        return
    questions: dict[str, Callable[[], list[str]]] = {
        "boot": lambda: list(subject.boot.problems),
        "modules": lambda: subject.modules.all_problems(),
        "pools": lambda: kernel.pools().all_problems(),
        # The first is told by another check, the second is nothing wrong.
        "jit": lambda: [text for text in subject.jit.problems if not any(one in text for one in _NOT_HERE)],
        "profile": lambda: list(subject.profile.problems),
        "cache": lambda: list(subject.cache.problems) if kernel.root is not None else [],
    }
    stage = _stage(subject)
    for name, problems in questions.items():
        if stage < layouts.const(f"BF_STAGE_{_SINCE[name]}"):
            continue
        try:
            told = problems()
        except BareflowError:
            # A record that is not there is the business of the question that is asked for it.
            continue
        for text in told:
            yield Finding(what=text, where=name, next_step=f"`{name}` shows the record")


def _stage(subject: Subject) -> int:
    """The boot stage; the last one where none is recorded."""
    try:
        return subject.boot.stage_number
    except BareflowError:
        return layouts.const("BF_STAGE_HALTED")


CHECK = Check("records", "pointers, sizes and counts inside the kernel's records", (MEMORY,), _look)
