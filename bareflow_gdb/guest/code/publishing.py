"""Which swap has the guest begun and not finished: the code pointer is stored, the kernel's records are not?

One processor publishes, at a safe point, and the function is not called meanwhile. Whatever asked for the version tells
that it is still at work: the count of calls stands at the threshold, the mailbox or the control word is not answered
yet. Once that has gone on, the records were forgotten, and the difference is a defect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import strays
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.code.being_published import Publishing
from bareflow_gdb.guest.code.functions import Function, Version
from bareflow_gdb.guest.code.mailbox import MailSlot
from bareflow_gdb.memory.protocol import Memory


def publishing(
    function: Function, current: int, of_level: int, own: Sequence[Version], calls: int, mail: MailSlot | None
) -> Publishing | None:
    """The swap of this function that is under way; None when there is none, or the guest has gone on without it.

    current: the code pointer; of_level: the code of the recorded level by the JIT's entry, the level being the last to
    be written; own: the function's versions; calls: by the profiler.
    """
    if of_level == current:
        return None
    entered = [one for one in own if one.entry == current and one.state in ("emitted", "retired", "published")]
    if not entered:
        return None
    new = max(entered, key=lambda version: version.number)
    replaced = [one for one in own if one is not new and one.state == "published"]
    if not replaced:
        return None
    old = max(replaced, key=lambda version: version.tsc_published)
    if not _under_way(new, old, calls, mail):
        return None
    return Publishing(
        function=function.name,
        from_level=old.level,
        to_level=new.level,
        version=new.number,
        old_code=old.entry,
        new_code=new.entry,
    )


def _under_way(new: Version, old: Version, calls: int, mail: MailSlot | None) -> bool:
    """Is what asked for the version still waiting for it?"""
    if new.state == "retired" or 0 < new.tsc_first < new.tsc_published:
        # Else it is an old version that the slot still leads to: the store of a newer one was lost.
        return mail is not None and mail.control == "rollback" and mail.control_argument == new.number
    if new.tsc_first or 0 < new.tsc_published < old.tsc_published:
        return False
    if new.provider == "host":
        return mail is None or mail.state == "ready"
    if new.reason == "forced":
        return mail is None or mail.control == "force"
    return not new.asked_at_call or calls <= new.asked_at_call


def current_codes(memory: Memory, functions: Iterable[Function]) -> dict[int, int]:
    """What the code pointers hold, by the function's index, of those that can be read. 1 packet."""
    there = [function for function in functions if function.slot]
    words = strays(memory, [(function.slot, 4, f"slot of {function.name}") for function in there])
    return {f.index: int.from_bytes(data, "little") for f, data in zip(there, words, strict=True) if data is not None}


def unrecorded(memory: Memory, root: Root, functions: Iterable[Function]) -> bool:
    """Does a code pointer lead elsewhere than the JIT's own entry for the recorded tier? 1 packet.

    No swap is under way without that; whether one is then, the versions tell.
    """
    functions = [function for function in functions if function.slot and function.level < len(_LEVELS)]
    if not root.adaptive_jit or not functions:
        return False
    pieces = []
    for function in functions:
        entry = function.slot - layouts.offset("jit_function_entry", "current_code")
        level = entry + layouts.offset("jit_function_entry", _LEVELS[function.level])
        pieces += [(function.slot, 4, "code pointer"), (level, 4, "code of a tier")]
    words = strays(memory, pieces)
    return any(one != other for one, other in zip(words[::2], words[1::2], strict=True))


_LEVELS = ("code_v0", "code_v1", "code_v2", "code_v3")
