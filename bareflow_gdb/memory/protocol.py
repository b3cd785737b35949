"""What is a `Memory`? The one protocol that decoders read through, and the one choke point all readers share.

Only RAM is ever read: a read of device memory has side effects, and QEMU's RAM file holds zeros for
0xA0000-0xFFFFF.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Protocol

from bareflow_gdb.errors import BareflowError, ReadError, Unreachable
from bareflow_gdb.memory.cpu import CpuRegisters, parse_registers

RAM_SIZE = 64 << 20
DEVICES_START = 0xA0000
DEVICES_END = 0x100000
SCREEN_ADDRESS = 0xB8000
SCREEN_BYTES = 4000
LINE = 256
KERNEL_BASES = (0x10000, 0x1000, 0x8000, 0x20000, 0x100000)
"""Where loaders put a kernel, the usual place first."""

Range = tuple[int, int]


def ram_ranges(ram_size: int = RAM_SIZE) -> tuple[Range, ...]:
    """The readable ranges [start, end) of a machine with `ram_size` bytes of RAM."""
    if ram_size <= DEVICES_START:
        return ((0, ram_size),)
    if ram_size <= DEVICES_END:
        return ((0, DEVICES_START),)
    return ((0, DEVICES_START), (DEVICES_END, ram_size))


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The ranges sorted, with those that touch or overlap joined."""
    joined: list[Range] = []
    for start, end in sorted(part for part in ranges if part[0] < part[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


class Memory(Protocol):
    """Guest memory by physical (= linear) address."""

    name: str
    live: bool
    ranges: tuple[Range, ...]
    """What of the guest's RAM can be read, [start, end) each."""
    asking_stops: bool
    """Registers, screen and monitor cost a running guest a stop, which its memory does not."""
    packets: int
    bytes_read: int

    def read(self, address: int, size: int, what: str) -> bytes:
        """`size` bytes at `address`; `what` labels the error. Raises ReadError."""

    def write(self, address: int, data: bytes, what: str) -> None:
        """Writes `data`, an aligned word as one store. Raises ReadError, also when it is read-only."""

    def invalidate(self) -> None:
        """Forgets cached bytes: a stop went by."""

    def screen(self) -> bytes:
        """The 4,000 bytes of VGA text; raises Unreachable when this source has none."""

    def monitor(self, command: str) -> str:
        """What QEMU's own monitor answers to an `info …`; raises Unreachable when there is no QEMU to ask."""

    def cpu(self) -> CpuRegisters:
        """The first CPU's registers; raises Unreachable when this source has none, BadData."""


class CheckedMemory(ABC):
    """A reader with bounds, labels, counters and, where reading is costly, a cache until `invalidate`.

    A child sets `packet_bytes` (what one round trip fetches; 0 = reading is cheap, no cache), implements
    `_fetch`, and `_store` if it can. The ranges of a cached reader begin and end at multiples of LINE.
    """

    name = "memory"
    live = False
    asking_stops = False
    packet_bytes = 0
    ram_is_guessed = False
    """Nobody said how much there is."""

    def __init__(self, ranges: Iterable[Range] | None = None) -> None:
        self.ranges: tuple[Range, ...] = ram_ranges() if ranges is None else tuple(ranges)
        self.packets = 0
        self.bytes_read = 0
        self._lines: dict[int, bytes] = {}

    @abstractmethod
    def _fetch(self, address: int, size: int) -> bytes:
        """The bytes, from a range already checked; raises BareflowError or OSError."""

    def _store(self, address: int, data: bytes) -> None:  # noqa: ARG002
        raise Unreachable(f"this {self.name} cannot be written; write to a running machine instead")

    def read(self, address: int, size: int, what: str) -> bytes:
        if size <= 0:
            if size < 0:
                raise ReadError(address, size, what, "the size is negative, the record before it is damaged")
            return b""
        self._check(address, size, what, "read")
        try:
            data = self._cached(address, size) if self.packet_bytes else self._fetch(address, size)
        except ReadError as error:
            raise ReadError(address, size, what, error.why) from error
        except (BareflowError, OSError) as error:
            raise ReadError(address, size, what, str(error)) from error
        if len(data) != size:
            raise ReadError(address, size, what, f"the {self.name} delivered {len(data)} bytes only")
        self.bytes_read += size
        return data

    def write(self, address: int, data: bytes, what: str) -> None:
        if not data:
            return
        self._check(address, len(data), what, "write")
        try:
            self._store(address, bytes(data))
        except (BareflowError, OSError) as error:
            raise ReadError(address, len(data), what, str(error), verb="write") from error
        self.invalidate()

    def invalidate(self) -> None:
        self._lines.clear()

    def screen(self) -> bytes:
        raise Unreachable(f"this {self.name} does not contain the screen; read it from a running machine")

    def monitor(self, command: str) -> str:
        raise Unreachable(
            f"this {self.name} cannot answer QEMU's `{command}`; a running machine can, and gdb at a gdbstub"
        )

    def cpu(self) -> CpuRegisters:
        return parse_registers(self.monitor("info registers"))

    def _check(self, address: int, size: int, what: str, verb: str) -> None:
        end = address + size
        for start, stop in self.ranges:
            if start <= address and end <= stop:
                return
        known = ", ".join(f"0x{start:08x}-0x{stop:08x}" for start, stop in self.ranges)
        guessed = ", as far as it is looked at: it does not say how much there is" if self.ram_is_guessed else ""
        why = f"that is not inside the RAM of this {self.name} ({known}{guessed})"
        raise ReadError(address, size, what, why, verb=verb)

    def _cached(self, address: int, size: int) -> bytes:
        wanted = range(address // LINE, (address + size - 1) // LINE + 1)
        missing = [number for number in wanted if number not in self._lines]
        if missing:
            # One fetch from the first to the last missing line: some bytes twice cost less than a round trip.
            self._fill(missing[0], missing[-1])
        data = b"".join(self._lines[number] for number in wanted)
        skip = address - wanted[0] * LINE
        return data[skip : skip + size]

    def _fill(self, first: int, last: int) -> None:
        start = first * LINE
        # Whole packets: what follows a record is often asked for next, and costs nothing here.
        packets = -(-(last + 1 - first) * LINE // self.packet_bytes)
        begin, limit = next(bounds for bounds in self.ranges if bounds[0] <= start < bounds[1])
        # Aligned when that takes no more of them: neighbours come together, whichever is asked first.
        aligned = max(begin, start // self.packet_bytes * self.packet_bytes) // LINE * LINE
        if (last + 1) * LINE - aligned <= packets * self.packet_bytes:
            start = aligned
        size = min(packets * self.packet_bytes, limit - start)
        data = self._fetch(start, size)
        if len(data) != size:
            raise Unreachable(f"the {self.name} delivered {len(data)} bytes only")
        for at in range(0, size, LINE):
            self._lines[(start + at) // LINE] = data[at : at + LINE]
