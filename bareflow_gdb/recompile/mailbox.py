"""How does the host make its moves in the mailbox? Each is one store by the owner of the state."""

from __future__ import annotations

import struct
import zlib

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.code.mailbox import MailSlot
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile.link import Linked, NeedMore
from bareflow_gdb.recompile.refusal import LinkError

HOST_OWNED = ("requested", "compiling")
_SEGMENT_ALIGNMENT = 16


def take(memory: Memory, slot: MailSlot) -> None:
    """requested → compiling."""
    _move(memory, slot, "BF_MAIL_COMPILING")


def stage(memory: Memory, slot: MailSlot, staging_size: int, linked: Linked, level: int) -> None:
    """Writes both segments, then compiling → ready; raises LinkError when they do not fit the staging area."""
    rodata_offset = len(linked.code) + -len(linked.code) % _SEGMENT_ALIGNMENT
    check_fits(slot, staging_size, rodata_offset, len(linked.rodata))
    memory.write(slot.staging, linked.code, "staged code")
    memory.write(slot.staging + rodata_offset, linked.rodata, "staged read-only data")
    code = _segment(0, slot.code_address, linked.code)
    rodata = _segment(rodata_offset, slot.rodata_address, linked.rodata)
    description = code + rodata + struct.pack("<II", linked.entry_offset, level)
    memory.write(slot.address + layouts.offset("bf_mail_slot", "code"), description, "staged segments")
    if linked.vectors:
        needed = sum(layouts.const(f"BF_FEATURE_{word.upper()}") for word in linked.vectors)
        memory.write(slot.address + layouts.offset("bf_mail_slot", "features"), bytes([needed]), "needed features")
    _move(memory, slot, "BF_MAIL_READY")


def check_fits(slot: MailSlot, staging_size: int, code: int, rodata: int) -> None:
    """Raises LinkError when the segments are larger than what the mailbox can carry."""
    if code + rodata > staging_size:
        raise LinkError(
            f"{slot.function} at O{slot.level_wanted} needs {code + rodata} bytes, more than the mailbox "
            f"carries ({staging_size}); lower the level"
        )


def want_more(memory: Memory, slot: MailSlot, need: NeedMore) -> None:
    """compiling → need_more: the guest makes room and asks again."""
    _set(memory, slot, "need_code", need.code)
    _set(memory, slot, "need_rodata", need.rodata)
    _move(memory, slot, "BF_MAIL_NEED_MORE")


def reject(memory: Memory, slot: MailSlot, reason: str) -> None:
    """compiling → rejected; `reason` is a constant of enum bf_reason."""
    _set(memory, slot, "reason", layouts.const(reason))
    _move(memory, slot, "BF_MAIL_REJECTED")


def ask(memory: Memory, slot: MailSlot, doorbell: int, level: int, brings: bool = False) -> None:
    """Asks the guest to request this level; `doorbell` is the address of that word.

    `brings`: the host has bitcode of its own, and the guest need not have any.
    """
    _set(memory, slot, "ask", level + 1 | (layouts.const("BF_ASK_BRINGS_BITCODE") if brings else 0))
    memory.write(doorbell, struct.pack("<I", 1), "doorbell")


def withdraw(memory: Memory, slot: MailSlot) -> None:
    """Takes a question back that the guest has not looked at."""
    _set(memory, slot, "ask", 0)


def _segment(offset: int, address: int, data: bytes) -> bytes:
    return struct.pack("<IIII", offset, address, len(data), zlib.crc32(data))


def _set(memory: Memory, slot: MailSlot, field: str, value: int) -> None:
    memory.write(slot.address + layouts.offset("bf_mail_slot", field), struct.pack("<I", value), f"mailbox {field}")


def _move(memory: Memory, slot: MailSlot, state: str) -> None:
    """Leaves a state that the host owns; raises BareflowError when the guest's word is another one."""
    address = slot.address + layouts.offset("bf_mail_slot", "state")
    memory.invalidate()
    (now,) = struct.unpack("<I", memory.read(address, 4, "mailbox state"))
    if word("bf_mail_state", now) not in HOST_OWNED:
        raise BareflowError(
            f"the mailbox slot of {slot.function} became {word('bf_mail_state', now)} while the host owned "
            "it; another host may be serving, or the guest was restarted: try again"
        )
    memory.write(address, struct.pack("<I", layouts.const(state)), "mailbox state")
