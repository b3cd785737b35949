"""What do host and guest say to each other through the mailbox?

Read budget: 1 packet for the header, 1 per 16 slots in use (128 bytes each).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import capped, filled, many, one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, Word, word
from bareflow_gdb.guest.code.being_published import UnderWay
from bareflow_gdb.guest.code.functions import Function
from bareflow_gdb.memory.protocol import Memory


@dataclass(frozen=True)
class Segment:
    """`struct bf_segment`: staged bytes and where they will run."""

    offset: int
    address: Address
    size: int
    crc: Word


@dataclass(frozen=True)
class MailSlot:
    """`struct bf_mail_slot`: the conversation about one function."""

    index: int
    address: Address
    staging: Address
    function: str
    state: str
    request: int
    level_wanted: int
    bitcode: Address
    bitcode_size: int
    bitcode_level: int
    code_address: Address
    code_capacity: int
    rodata_address: Address
    rodata_capacity: int
    need_code: int
    need_rodata: int
    reason: str
    code: Segment
    rodata: Segment
    entry_offset: int
    level: int
    ask: int
    """Level + 1 that the host asks for, 0 = nothing."""
    control: str
    control_argument: int
    done_request: int
    """The last request that ended; 0 = none."""
    done_state: str
    done_reason: str
    done_version: int
    requested_by: str
    """Why the guest asks; "none" before interface 1.2."""
    phase: str
    """How far the function's swap is; "none" = none is under way, and before interface 1.3."""
    phase_level: int
    """The level that it leads to."""
    refusal: str
    """Why the last swap came to nothing; "none" before interface 1.3."""

    @property
    def settled(self) -> bool:
        """Do the done_* words belong together? The guest writes them one by one, and then leaves the state."""
        return self.state in ("idle", "installed") or self.request != self.done_request


@dataclass(frozen=True)
class Mailbox:
    """`struct bf_mailbox` with the slots of registered functions."""

    slots: tuple[MailSlot, ...]
    slot_count: int
    staging_size: int
    """Bytes per slot."""
    doorbell: int
    problems: tuple[str, ...]


def under_way(slot: MailSlot, function: Function) -> UnderWay | None:
    """The swap of the slot's function that is under way."""
    if slot.phase == "none":
        return None
    ahead = slot.phase in AHEAD_OF_STORE
    phase = slot.phase.replace("_", " ")
    return UnderWay(
        function=function.name, phase=phase, from_level=function.level if ahead else None, to_level=slot.phase_level
    )


AHEAD_OF_STORE = ("requested", "compiled", "copied", "about_to_publish")


def control_of(box: Mailbox | None, functions: list[Function]) -> tuple[tuple[UnderWay, ...], tuple[str, ...]]:
    """The swaps that are under way, and the functions whose swaps are vetoed."""
    slots = box.slots if box is not None else ()
    begun = (under_way(slot, functions[slot.index]) for slot in slots)
    return tuple(one for one in begun if one is not None), tuple(s.function for s in slots if s.control == "veto")


def read_mailbox(memory: Memory, root: Root, functions: list[Function]) -> Mailbox:
    """Raises BadData when there is no mailbox or its header cannot be right, ReadError."""
    raw = one(memory, "bf_mailbox", need(root, "mailbox", "mailbox"), "mailbox")
    if raw.magic != layouts.const("BF_MAILBOX_MAGIC"):
        raise BadData(
            f"the mailbox has magic 0x{raw.magic:08x}, not MBOX: the JIT is not up yet, or it was overwritten"
        )
    if raw.slot_size != layouts.size("bf_mail_slot"):
        raise BadData(f"the mailbox has slots of {raw.slot_size} bytes, known are {layouts.size('bf_mail_slot')}")
    if raw.slots % 4:
        raise BadData(f"the mailbox has its slots at 0x{raw.slots:08x}, where no words lie; was it overwritten?")
    problems: list[str] = []
    count = capped(raw.slot_count, layouts.const("BF_MAX_FUNCTIONS"), "mailbox slots", problems)
    used = min(count, len(functions))
    slots = many(memory, "bf_mail_slot", raw.slots, used, "mailbox slots")
    tells = root.tells(3)
    decoded = tuple(_slot(raw, index, slot, functions[index].name, tells) for index, slot in enumerate(slots))
    return filled(Mailbox, raw, slots=decoded, problems=tuple(problems))


def _slot(box: Any, index: int, raw: Any, function: str, tells_phase: bool) -> MailSlot:
    return filled(
        MailSlot,
        raw,
        index=index,
        address=Address(box.slots + index * box.slot_size & 0xFFFFFFFF),
        staging=Address(box.staging + index * box.staging_size & 0xFFFFFFFF),
        function=function,
        state=word("bf_mail_state", raw.state),
        reason=word("bf_reason", raw.reason),
        code=filled(Segment, raw.code),
        rodata=filled(Segment, raw.rodata),
        control=word("bf_control", raw.control),
        requested_by=word("bf_reason", raw.requested_by),
        phase=word("bf_swap_phase", raw.phase if tells_phase else 0),
        refusal=word("bf_reason", raw.refusal if tells_phase else 0),
        done_state=word("bf_mail_state", raw.done_state),
        done_reason=word("bf_reason", raw.done_reason),
    )
