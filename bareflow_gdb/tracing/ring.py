"""What has the guest written into an event ring, and what of it was lost?

The ring is read where it lies in QEMU's RAM, through a shared mapping, while the guest runs. Protocol
(bareflow.h): a record is complete before `head` moves, so after a copy `head` is read again and everything
that the guest may have overwritten meanwhile is dropped and counted. Nothing torn is ever returned.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME, type_numbers
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.tracing.events import EVENT_DTYPE, Batch
from bareflow_gdb.tracing.manifest import WRITTEN, Source

HEARTBEAT_SECONDS = 0.02
ALIVE_SECONDS = 0.2
CHUNK_RECORDS = 16384
RECORDED_ALREADY = "this guest is being recorded already; end that recording first"
MODE_OFF = layouts.const("BF_RING_OFF")
MODE_FLIGHT = layouts.const("BF_RING_FLIGHT")
MODE_LOSSLESS = layouts.const("BF_RING_LOSSLESS")

_MASK32 = 0xFFFFFFFF
# A head so far ahead is one that went back: no reader sleeps through 2^31 records.
_RESTARTED = 1 << 31
_IDENTITY = (layouts.const("BF_RING_MAGIC"), layouts.const("BF_RING_VERSION"))
_HEADER_BYTES = layouts.size("bf_ring_header")


def _word(field: str) -> int:
    return layouts.offset("bf_ring_header", field) // 4


_MODE, _HEAD, _TAIL, _HEARTBEAT = _word("mode"), _word("head"), _word("tail"), _word("heartbeat")
_MASK = _word("type_mask")
_DROPPED, _WAITS, _DEATHS = _word("dropped"), _word("waits"), _word("reader_deaths")


@dataclass(frozen=True)
class Asked:
    """Which event types is the guest to write while it is recorded? Without any: those that it writes anyhow."""

    only: tuple[str, ...] = ()
    """These and no others, from now on."""
    also: tuple[str, ...] = ()
    """These too."""

    def mask(self, before: int) -> int:
        """The word that says so; raises UsageError when there is no such type."""
        only, also = _bits(self.only), _bits(self.also)
        return (only if self.only else before) | also


def _bits(names: Sequence[str]) -> int:
    found = 0
    for number in type_numbers(names):
        if number == BY_NAME["counted"].number:
            raise UsageError("no kernel writes events of type counted: `--source tables` and `--source watch` do")
        # bareflow.h: a mask has 32 bits, and type 32 that of type 0.
        found |= 1 << number % 32
    return found


AS_IT_IS = Asked()


class MappedRam(Protocol):
    """Guest RAM that can be looked at without a copy: `memory.qemu_ram.QemuRam`."""

    def view(self, address: int, size: int, what: str) -> memoryview:
        """`size` bytes at `address`, which change while the guest runs. Raises ReadError."""


class RingReader:
    """One ring, in RAM that is mapped writable.

    Raises BadData when there is no ring at `header`, ReadError when it or its records are not in RAM.
    """

    def __init__(self, ram: MappedRam, header: int) -> None:
        page = ram.view(header, _HEADER_BYTES, "ring header")
        fields = layouts.unpack("bf_ring_header", bytes(page))
        capacity, records = int(fields.capacity), int(fields.records)
        if (fields.magic, fields.version) != _IDENTITY:
            raise BadData(f"there is no event ring at {header:#010x}: wait until the kernel has booted")
        if fields.record_size != EVENT_DTYPE.itemsize or capacity < 2 or capacity & (capacity - 1):
            raise BadData(f"the event ring at {header:#010x} claims {capacity} records of {fields.record_size} B")
        if (header | records) % 4:
            raise BadData(f"the event ring at {header:#010x} is not aligned, its records are at {records:#010x}")
        self.ring = int(fields.ring) & 0xFF
        self.header = header
        self.capacity = capacity
        self._words = page.cast("I")
        # Rows of four 64-bit words: NumPy copies a structured dtype field by field, 28 times slower.
        view = ram.view(records, capacity * EVENT_DTYPE.itemsize, "ring records")
        self._records = np.frombuffer(view, np.uint64).reshape(capacity, -1)
        self._attached = False
        self._mask_before: int | None = None
        self._next = self._words[_HEAD]
        self._first = self._next
        self._past = 0
        """Records not taken yet that are older than the attachment."""
        self._lost = 0
        self.restarted = False
        """The guest has set the ring up again, by a reboot: nothing more can be taken."""

    def attach(self, *, lossless: bool, past: bool = True, asked: Asked = AS_IT_IS) -> None:
        """Start at the oldest record that is still there (`past`) or at the newest; switch the mode and the types.

        A ring that is off stays off.
        """
        words = self._words
        before = words[_MASK]
        if (mask := asked.mask(before)) != before:
            self._mask_before = before
            words[_MASK] = mask
        self._mask = mask
        words[_HEARTBEAT] = (words[_HEARTBEAT] + 1) & _MASK32
        self._start(past)
        if words[_MODE] != MODE_OFF:
            # Lossless here is what a reader left behind that was killed: see Rings.
            self._attached = True
            words[_MODE] = MODE_LOSSLESS if lossless else MODE_FLIGHT
        # The guest wrote on until it saw the mode, over what was the oldest record a moment before.
        self._start(past)
        self._first = self._next
        self._lost = 0
        self.restarted = False

    def _start(self, past: bool) -> None:
        """Where to begin, and the tail that keeps a lossless guest from writing over it."""
        head = self._words[_HEAD]
        self._past = min(head, self.capacity - 1) if past else 0
        self._next = head - self._past
        self._words[_TAIL] = (self._next - 1) & _MASK32

    def detach(self) -> None:
        """Give the ring back as a flight recorder, with its types as they were; one that is off stays off."""
        if self._mask_before is not None and self._words[_MASK] == self._mask:
            self._words[_MASK] = self._mask_before
        self._mask_before = None
        self._words[_TAIL] = self._next & _MASK32
        if self._attached and self._words[_MODE] == MODE_LOSSLESS:
            self._words[_MODE] = MODE_FLIGHT
        self._attached = False

    def beat(self) -> None:
        """Tell the guest that the reader lives; at least every 50 ms in lossless mode. Any thread may."""
        self._words[_HEARTBEAT] = (self._words[_HEARTBEAT] + 1) & _MASK32

    @property
    def heartbeat(self) -> int:
        """How often a reader, this one or another, has beaten."""
        return self._words[_HEARTBEAT]

    @property
    def head(self) -> int:
        """The guest's head, extended to 64 bits by how far this reader has come."""
        return self._next + (self._words[_HEAD] - self._next & _MASK32)

    @property
    def position(self) -> int:
        """Sequence number, extended to 64 bits, of the next record to take."""
        return self._next

    @property
    def pending(self) -> int:
        """Records written and not yet taken."""
        return self._words[_HEAD] - self._next & _MASK32

    def drain(self, limit: int = CHUNK_RECORDS) -> Batch:
        """Up to `limit` of the oldest records that are not taken yet; empty when there is none."""
        self.beat()
        if self.pending > _RESTARTED:
            self.restarted = True
        if self.restarted:
            return Batch(self.ring, np.empty(0, EVENT_DTYPE), self._next, 0)
        head = self.head
        lost = 0
        oldest = head - self.capacity + 1
        if self._next < oldest:
            lost = oldest - self._next
            self._next = oldest
        first = self._next
        count = min(head - first, limit, self.capacity)
        start = first & (self.capacity - 1)
        until_wrap = self.capacity - start
        if count <= until_wrap:
            rows = self._records[start : start + count].copy()
        else:
            rows = np.concatenate((self._records[start:], self._records[: count - until_wrap]))
        events = rows.view(EVENT_DTYPE)[:, 0]
        # The record at head - capacity may be half overwritten at this very moment: it counts as lost too.
        head = self.head
        # Set up again while they were copied: their sequence numbers tell which were still there.
        self.restarted = head - first > _RESTARTED
        overtaken = 0 if self.restarted else max(0, min(count, head - self.capacity + 1 - first))
        # Not lost: written before this reader came, and overwritten before it took anything.
        forgotten = min(lost + overtaken, self._past)
        self._past = 0
        self._first += forgotten
        expected = np.arange(first + overtaken, first + count, dtype=np.uint64).astype(np.uint32)
        good = events["seq"][overtaken:] == expected
        if not good.all():
            # Only a guest that breaks the protocol gets here: keep what follows the last impossible record.
            overtaken += int(np.flatnonzero(~good)[-1]) + 1
        self._next = first + count
        # One behind, so that a waiting guest never fills the slot that the overtaking rule must give up.
        self._words[_TAIL] = (self._next - 1) & _MASK32
        lost += overtaken - forgotten
        self._lost += lost
        return Batch(self.ring, events[overtaken:], first + overtaken, lost)

    @property
    def mode(self) -> int:
        """What the guest does when the ring is full."""
        return self._words[_MODE]

    def counts(self) -> Source:
        """The loss account of this reader and of the guest; `events + lost` is how far the reader has come."""
        words = self._words
        return Source(
            name=f"ring {self.ring}",
            ring=self.ring,
            capacity=self.capacity,
            first=self._first,
            events=self._next - self._first - self._lost,
            lost=self._lost,
            guest_dropped=words[_DROPPED],
            guest_waits=words[_WAITS],
            reader_deaths=words[_DEATHS],
            confidence=WRITTEN,
        )

    def close(self) -> None:
        """Let go of the mapping; the reader is of no use afterwards."""
        self._words.release()
        self._records = np.empty((0, 4), np.uint64)


class Rings:
    """All rings of a guest, attached together and kept alive by one heartbeat thread. A context manager."""

    clock = ""

    def __init__(
        self, ram: MappedRam, headers: Iterable[int], *, lossless: bool = True, asked: Asked = AS_IT_IS
    ) -> None:
        self.readers = [RingReader(ram, header) for header in headers]
        self._asked = asked
        self._lossless = lossless
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="ring heartbeat", daemon=True)

    def __enter__(self) -> Rings:
        self.require_free()
        for reader in self.readers:
            reader.attach(lossless=self._lossless, asked=self._asked)
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._heart.join()
        for reader in self.readers:
            reader.detach()
            reader.close()

    def require_free(self) -> None:
        """Raises UsageError when another reader is attached: two would take each other's events.

        One that lives beats, whatever its mode; one that was killed left the mode behind and beats no more.
        """
        used = [reader for reader in self.readers if reader.heartbeat or reader.mode == MODE_LOSSLESS]
        before = [reader.heartbeat for reader in used]
        deadline = time.monotonic() + ALIVE_SECONDS
        while used and time.monotonic() < deadline:
            time.sleep(HEARTBEAT_SECONDS)
            if before != [reader.heartbeat for reader in used]:
                raise UsageError(RECORDED_ALREADY)

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            for reader in self.readers:
                reader.beat()

    def drain(self) -> Sequence[Batch]:
        """One batch per ring that had something, interrupt rings first so that their few records keep up."""
        batches = (reader.drain() for reader in reversed(self.readers))
        return [batch for batch in batches if len(batch.events) or batch.lost]

    def drain_all(self, take: Callable[[Batch], None]) -> None:
        """Take what was written until now; ends even when the guest writes on."""
        goals = [reader.head for reader in self.readers]
        for reader, goal in zip(self.readers, goals, strict=True):
            while reader.position < goal and not reader.restarted:
                take(reader.drain())

    @property
    def restarted(self) -> bool:
        """The guest has set its rings up again."""
        return any(reader.restarted for reader in self.readers)

    @property
    def nearly_empty(self) -> bool:
        """Whether the guest has room for a while, so that the reader may sleep."""
        return all(reader.pending < reader.capacity // 8 for reader in self.readers)

    def counts(self) -> list[Source]:
        """The loss account of every ring."""
        return [reader.counts() for reader in self.readers]
