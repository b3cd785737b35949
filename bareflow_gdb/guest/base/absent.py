"""Why is something not told? Four different reasons, in the same words wherever one is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.root import Root

T = TypeVar("T")

CANNOT_KNOW = "cannot be known"
"""Nothing that is kept tells it."""
NOT_YET = "there (yet)"
"""The guest runs, and may still make it."""
TORN_DOWN = "torn down"
"""It was there, and the guest has given it up."""
NONE = "this kernel has no"
"""It never had such a part."""

_SENTENCES = {
    CANNOT_KNOW: "whether there was any {what} {reason}: {because}",
    NOT_YET: "no {what} is {reason}: {because}",
    TORN_DOWN: "the {what} is {reason}: {because}",
    NONE: "{reason} {what}: {because}",
}


class Absent(BadData):
    """A part of a kernel that cannot be told; `reason` is one of the four."""

    def __init__(self, what: str, reason: str, because: str, next_step: str = "") -> None:
        text = _SENTENCES[reason].format(what=what, reason=reason, because=because)
        super().__init__(f"{text}; {next_step}" if next_step else text)
        self.reason = reason


def if_it_has(read: Callable[[], T]) -> T | None:
    """What `read` gives; None of a kernel that never had that part."""
    try:
        return read()
    except Absent as absent:
        if absent.reason != NONE:
            raise
        return None


def need(root: Root, pointer: str, what: str) -> int:
    """Where the root descriptor's `pointer` leads. Raises Absent when there is none, BadData when it cannot be one."""
    address: int = getattr(root, pointer)
    if address:
        return address
    if pointer in root.unusable:
        raise BadData(f"this kernel gives no {what}: its root descriptor has no valid pointer to it")
    if root.variant != "unikernel":
        raise Absent(what, NONE, "its root descriptor leads to none")
    next_step = "`jit` shows its functions" if root.adaptive_jit else "`profile` shows its functions, `log` its output"
    raise Absent(what, NONE, "it is an application on the kernel library", next_step)
