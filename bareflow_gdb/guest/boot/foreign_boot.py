"""What can be told of a boot whose loader keeps no record? What it left, and whether the image came whole.

Read budget: 2 packets, and 1 per 2 KB of what is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.guest.base.values import NOWHERE, Address
from bareflow_gdb.guest.boot.boot_code import stage_code
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.image import SECTOR

_MOST_IMAGE = 1 << 20


@dataclass(frozen=True)
class Piece:
    """A part of the image as a file holds it."""

    name: str
    address: int
    data: bytes
    written: bool
    """The kernel may write there."""


@dataclass(frozen=True)
class LoadedPart:
    """A part of the image, compared with memory."""

    name: str
    address: Address
    size: int
    different: int
    """Bytes that memory has otherwise."""
    missing_from: Address
    """From here to its end memory holds zeros, and the file does not; 0 = it came whole."""
    written: bool


@dataclass(frozen=True)
class ForeignBoot:
    """A boot without a record."""

    kernel: Address
    """Where its signature is."""
    entry: Address
    """A stock image is called at its first byte."""
    protected_entry: Address
    """Where stage 2 goes on in protected mode; 0 = stage 2 is not in memory any more."""
    compared: str
    """The file that memory was compared with, "" = there was none."""
    parts: tuple[LoadedPart, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def read_foreign_boot(memory: Memory, pieces: tuple[Piece, ...], source: str) -> ForeignBoot:
    """Of the kernel in memory; `pieces` are what `source` says it was loaded from. Raises ReadError."""
    base = Address(kernel_base(memory) or USUAL)
    start = min((piece.address for piece in pieces), default=base)
    parts = tuple(_compare(memory, piece, start) for piece in pieces if piece.data)
    if any(part.missing_from for part in parts):
        # What comes later and holds nothing did not come either, however short it is.
        cut = min(part.missing_from for part in parts if part.missing_from)
        parts = tuple(
            replace(part, missing_from=part.address) if part.address >= cut and part.different else part
            for part in parts
        )
    try:
        entry = stage_code("pm", _reader(memory), "memory").address
    except BareflowError:
        entry = NOWHERE
    problem = cut_off(parts)
    return ForeignBoot(base, base, entry, source if parts else "", parts, (problem,) if problem else ())


def cut_off(parts: tuple[LoadedPart, ...]) -> str:
    """A truncated load as a sentence: where the image ends in memory, how many sectors were read; "" = it is whole."""
    lost = [part for part in parts if part.missing_from]
    if not lost:
        return ""
    first = min(lost, key=lambda part: part.missing_from)
    start, end = min(part.address for part in parts), max(part.address + part.size for part in parts)
    read, needed = (-(-size // SECTOR) for size in (first.missing_from - start, end - start))
    return (
        f"the load is cut off: from 0x{first.missing_from:08x}, in {first.name}, memory holds zeros; the loader read "
        f"{read} sectors, the image has {needed}"
    )


def image_pieces(path: Path, base: int) -> tuple[Piece, ...]:
    """The kernel on a boot disk, from its sector 9 on; empty when the file cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(layouts.const("BF_IMAGE_LBA") * SECTOR)
            data = file.read(_MOST_IMAGE)
    except OSError:
        return ()
    signature = layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little")
    # Behind the image the disk holds zeros.
    return (Piece("the image", base, data.rstrip(b"\0"), written=True),) if data.startswith(signature) else ()


def _compare(memory: Memory, piece: Piece, start: int) -> LoadedPart:
    there = memory.read(piece.address, len(piece.data), f"memory of {piece.name}")
    different = sum(one != other for one, other in zip(piece.data, there, strict=True))
    missing = _missing(piece, there, start)
    return LoadedPart(piece.name, Address(piece.address), len(piece.data), different, Address(missing), piece.written)


def _missing(piece: Piece, there: bytes, start: int) -> int:
    """The sector from which on nothing came: memory is zero where the file is not, and nowhere later as the file."""
    missing = 0
    first = piece.address - (piece.address - start) % SECTOR
    for address in range(first, piece.address + len(piece.data), SECTOR):
        at = slice(max(address - piece.address, 0), address - piece.address + SECTOR)
        wanted, found = piece.data[at], there[at]
        if not any(wanted):
            continue
        if wanted == found or (not missing and any(found)):
            missing = 0
        elif not missing and len(wanted) == SECTOR:
            missing = max(address, piece.address)
    return missing


def _reader(memory: Memory) -> Callable[[int, int], bytes]:
    def read(address: int, size: int) -> bytes:
        return memory.read(address, size, "stage 2")

    return read
