"""What did the guest print on COM1?

Read budget: 1 packet for the header, 1 per 2 KB of text, at most 9.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.foreign import console_of
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.memory.protocol import Memory

_LARGEST = 1 << 20


@dataclass(frozen=True)
class Log:
    """The end of the log: whole lines, without what the buffer has lost."""

    text: str
    written: int
    """Bytes ever printed mod 2^32."""
    capacity: int
    lost: int
    """Bytes printed before the text that is shown."""


def read_log(memory: Memory, root: Root, last: int | None = None) -> Log:
    """The last `last` bytes, or all that the buffer holds; cut at the first whole line when some are missing.

    Raises BadData when the kernel has no log buffer or it cannot be right, ReadError.
    """
    raw = one(memory, "bf_log", need(root, "log_buffer", "log buffer"), "log buffer")
    if raw.magic != layouts.const("BF_LOG_MAGIC"):
        raise BadData(f"the log buffer has magic 0x{raw.magic:08x}, not BLOG: nothing printed yet, or overwritten")
    if raw.capacity & raw.capacity - 1 or not 0 < raw.capacity <= _LARGEST:
        raise BadData(f"the log buffer claims {raw.capacity} bytes, which cannot be right")
    held = min(raw.written, raw.capacity)
    wanted = held if last is None else max(0, min(last, held))
    text = console_of(_text(memory, raw.text, raw.capacity, raw.written, wanted))
    if wanted < raw.written:
        text = text.partition("\n")[2]
    return Log(text=text, written=raw.written, capacity=raw.capacity, lost=raw.written - wanted)


def _text(memory: Memory, base: int, capacity: int, written: int, wanted: int) -> bytes:
    start = written - wanted & capacity - 1
    if start + wanted <= capacity:
        return memory.read(base + start, wanted, "log text")
    # It wraps around: the buffer in one read costs fewer packets than its two ends.
    whole = memory.read(base, capacity, "log text")
    return (whole[start:] + whole)[:wanted]
