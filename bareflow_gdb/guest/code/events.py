"""What were the last events of a ring?

For the flight recorder's end as gdb and one-shot commands need it: the header and the last N records in one
read each, in order, nothing torn. Draining a ring for a trace is the recorder's work.
Read budget: 1 packet for the header before, 1 per 64 records, 1 for the header after (not when the guest is
stopped and the reader caches).
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import ADDRESSES, ENUMS, event_type
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.reading import filled, one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, word
from bareflow_gdb.memory.protocol import Memory

LAST = 128
MOST = 1 << 17
"""Twice as many as a ring of ours holds."""
SWAP_EVENTS = frozenset(
    (
        *("jit_register", "threshold", "compile_begin", "compile_end", "emit", "publish", "first_execution"),
        *("retire", "free", "rollback"),
    )
)
"""What is told of a version and its code, from the threshold to its end."""
_MAX_CAPACITY = 1 << 22
_WRAP = 1 << 32


@dataclass(frozen=True)
class Ring:
    """`struct bf_ring_header`: the state of one ring."""

    index: int
    address: Address
    records: Address
    capacity: int
    mode: str
    types_off: tuple[str, ...]
    """Event types that the mask keeps out."""
    head: int
    """Records ever written mod 2^32."""
    tail: int
    dropped: int
    waits: int
    reader_deaths: int
    heartbeat: int


@dataclass(frozen=True)
class Event:
    """`struct bf_event`; what `id` and the arguments mean is in abi/events.py."""

    tsc: int
    seq: int
    ring: int
    type: str
    cpu: int
    id: int
    args: tuple[int, int, int, int]

    def fields(self) -> dict[str, int]:
        """The arguments by name."""
        number = layouts.enum_values("bf_event_type").get(f"BF_EVENT_{self.type.upper()}", -1)
        return event_type(number).fields(self.id, self.args)


def as_word(field: str, value: int) -> str | None:
    """An argument of an event that is no plain number: enum values by name, addresses in hexadecimal."""
    if field in ENUMS:
        return word(ENUMS[field], value)
    return f"0x{value:08x}" if field in ADDRESSES or field == "crc" else None


def read_ring(memory: Memory, root: Root, index: int) -> Ring | None:
    """The ring's header; None when the kernel has no such ring.

    Raises BadData when the header cannot be right, ReadError.
    """
    address = root.rings[index] if 0 <= index < len(root.rings) else 0
    if not address:
        return None
    raw = one(memory, "bf_ring_header", address, f"header of ring {index}")
    if raw.magic != layouts.const("BF_RING_MAGIC"):
        raise BadData(f"ring {index} has magic 0x{raw.magic:08x}, not BRNG: not up yet, or something wrote over it")
    size = layouts.size("bf_event")
    if raw.record_size != size or raw.capacity & raw.capacity - 1 or not 0 < raw.capacity <= _MAX_CAPACITY:
        raise BadData(f"ring {index} claims {raw.capacity:,} records of {raw.record_size} bytes, which cannot be right")
    types = layouts.enum_values("bf_event_type").values()
    # Of 32 bits: type 32 has that of type 0. What only recorders write a kernel has not switched off.
    nobody = (layouts.const("BF_EVENT_NONE"), layouts.const("BF_EVENT_COUNTED"))
    written = [value for value in types if value not in nobody]
    off = tuple(word("bf_event_type", value) for value in written if not raw.type_mask >> value % 32 & 1)
    return filled(Ring, raw, index=index, address=address, mode=word("bf_ring_mode", raw.mode), types_off=off)


def read_last(
    memory: Memory, root: Root, index: int = 0, last: int | None = None, types: frozenset[str] | None = None
) -> list[Event]:
    """The last events of one ring by sequence number; empty when there is no such ring.

    `last` None: all that the ring holds, or LAST when the source's reads cost packets. `types`: only these.
    Raises BadData when the header cannot be right, ReadError.
    """
    ring = read_ring(memory, root, index)
    if ring is None:
        return []
    if last is None:
        last = LAST if memory.packets else ring.capacity
    count = max(0, min(last, ring.head, ring.capacity))
    first = ring.head - count
    data = read_records(memory, ring, first, count)
    overtaken = _head_now(memory, ring) - ring.capacity
    size, at = layouts.size("bf_event"), layouts.offset("bf_event", "type")
    known = layouts.enum_values("bf_event_type")
    wanted = None if types is None else {known[f"BF_EVENT_{name.upper()}"] for name in types}
    found = []
    for number in range(max(0, overtaken - first), count):
        place = number * size
        if wanted is not None and data[place + at] not in wanted:
            continue
        raw = layouts.unpack("bf_event", data[place : place + size])
        # A record of another lap is one that the guest was writing while it was copied.
        if raw.seq == (first + number) % _WRAP:
            kind = word("bf_event_type", raw.type)
            found.append(Event(raw.tsc, raw.seq, ring.index, kind, raw.cpu, raw.id, raw.arg))
    return found


def read_records(memory: Memory, ring: Ring, first: int, count: int) -> bytes:
    """`count` records from number `first` on: one read, or two where they wrap around."""
    size = layouts.size("bf_event")
    at = first & ring.capacity - 1
    before = min(count, ring.capacity - at)
    data = memory.read(ring.records + at * size, before * size, f"records of ring {ring.index}")
    if count > before:
        data += memory.read(ring.records, (count - before) * size, f"records of ring {ring.index}")
    return data


def _head_now(memory: Memory, ring: Ring) -> int:
    """`head` again after the copy, without the wrap at 2^32 between the two reads."""
    if not memory.live:
        return ring.head
    at = ring.address + layouts.offset("bf_ring_header", "head")
    now = int.from_bytes(memory.read(at, 4, "head of the ring"), "little")
    return ring.head + (now - ring.head) % _WRAP


def read_all_last(
    memory: Memory, root: Root, last: int = LAST, missing: list[str] | None = None, types: frozenset[str] | None = None
) -> list[Event]:
    """The last events of every ring in the order of their time; why a ring gave none is added to `missing`.

    `types`: the last of these types, from among all that the ring still holds.

    Without `missing`, or when there is no event either, that is raised: BadData, ReadError.
    """
    found: list[Event] = []
    for index in range(len(root.rings)):
        try:
            found += read_last(memory, root, index, last if types is None else _WRAP, types)[-last:] if last else []
        except (BadData, ReadError) as error:
            if missing is None:
                raise
            missing.append(str(error))
    if missing and not found:
        raise BadData(missing[0])
    return sorted(found, key=lambda event: (event.tsc, event.ring, event.seq))
