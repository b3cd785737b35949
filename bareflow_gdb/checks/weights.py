"""Is the language model in RAM still what was loaded: its head, and each of its tensors, by their CRCs?"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import CANNOT_KNOW, NONE, NOT_YET, Absent
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.reading import many, one
from bareflow_gdb.memory.protocol import Memory

_AT_ONCE = 4 << 20
_ADDRESSES = 1 << 32
_HEAD, _PART = "bf_model_header", "bf_model_part"


def _look(subject: Subject) -> Iterator[Finding]:
    root, memory = subject.kernel.need_interface("it has no language model"), subject.kernel.memory
    if not root.tells(4):
        raise Absent("language model", NONE, "its interface is older than models")
    record = one(memory, "bf_model_record", layouts.const("BF_MODEL_RECORD_ADDRESS"), "model record")
    loaded = record.state == layouts.const("BF_MODEL_STATE_LOADED")
    # Whoever started the machine may have put it there.
    put = record.state <= layouts.const("BF_MODEL_STATE_NO_FILE") and record.question
    if record.magic != layouts.const("BF_MODEL_RECORD_MAGIC") or not (loaded or put):
        raise Absent("language model", NONE, "none was loaded from its disk, and it answers no questions")
    if subject.reads_cost:
        because = f"its CRCs are over all {record.bytes:,} bytes of it, too many for packets"
        step = "`bareflow diagnose MACHINE` reads QEMU's RAM"
        raise Absent("damage to the language model", CANNOT_KNOW, because, step)
    base = layouts.const("BF_WEIGHTS_BASE")
    size, head = _head(memory, base)
    held = _held(memory, base)
    room = record.bytes if loaded else _ADDRESSES - base
    if not loaded and head.magic != layouts.const("BF_MODEL_MAGIC"):
        raise Absent("language model", NOT_YET, "none is where it would be")
    if (
        head.magic != layouts.const("BF_MODEL_MAGIC")
        or size > min(room, held)
        or _head_crc(memory, base, size) != head.crc
    ):
        yield _finding("the head of the language model in memory is damaged", base, "it differs from its own CRC")
        return
    count = min(head.parts, layouts.const("BF_MODEL_MOST_PARTS"))
    parts = many(memory, _PART, base + layouts.size(_HEAD), count, "parts of the model")
    found = list(_damaged(memory, base, parts, room, held))
    if not found and any(part.offset + part.bytes > held for part in parts):
        because, step = "cores and traces leave them out", "ask the machine while it is there"
        raise Absent("damage to the language model's weights", CANNOT_KNOW, because, step)
    yield from found


def _damaged(memory: Memory, base: int, parts: Sequence[Any], room: int, held: int) -> Iterator[Finding]:
    """`room`: bytes that the model has; `held`: that can be read here."""
    left = min(room, held)
    for part in parts:
        if part.offset + part.bytes > room:
            yield _finding(f"the tensor {clean(part.name)} lies outside of the model", base + part.offset, "")
        elif part.offset + part.bytes <= held and (left := left - part.bytes) >= 0:
            crc = _crc(memory, base + part.offset, part.bytes)
            if crc != part.crc:
                yield _finding(
                    f"the tensor {clean(part.name)} of the language model is damaged in memory",
                    base + part.offset,
                    f"its {part.bytes:,} bytes have CRC 0x{crc:08x}, the model's head says 0x{part.crc:08x}",
                )


def _head(memory: Memory, base: int) -> tuple[int, Any]:
    """Bytes of header and part records, as it claims them; and the header."""
    head = one(memory, _HEAD, base, "model header")
    parts = min(head.parts, layouts.const("BF_MODEL_MOST_PARTS") + 1)
    return layouts.size(_HEAD) + parts * layouts.size(_PART), head


def _held(memory: Memory, base: int) -> int:
    """How much there is to read from there on: of a core or trace perhaps not all."""
    return next((end - base for start, end in memory.ranges if start <= base < end), 0)


def _head_crc(memory: Memory, base: int, size: int) -> int:
    data, at = memory.read(base, size, "head of the model"), layouts.offset(_HEAD, "crc")
    return zlib.crc32(data[:at] + bytes(4) + data[at + 4 :])


def _crc(memory: Memory, address: int, size: int) -> int:
    crc = 0
    for at in range(address, address + size, _AT_ONCE):
        crc = zlib.crc32(memory.read(at, min(_AT_ONCE, address + size - at), "tensor"), crc)
    return crc


def _finding(what: str, address: int, evidence: str) -> Finding:
    return Finding(
        what=what,
        where=f"0x{address:08x}",
        evidence=evidence,
        consequence="the model answers with other words than it should, and nothing refuses it: CRCs are compared when "
        "it is loaded",
        next_step="look for what writes there (`bareflow gdb`, `watch`); `bareflow model verify FILE` tells whether "
        "its file is whole",
    )


CHECK = Check("weights", "the tensors of the language model in RAM against the CRCs in its head", (ROOT,), _look)
