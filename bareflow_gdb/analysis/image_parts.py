"""What is a boot disk, or a kernel's file, made of? The parts by which two of them are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.loaded import USUAL
from bareflow_gdb.guest.base.root import Root, decode_root
from bareflow_gdb.guest.names.elf import KernelSymbols, beside, load_elf, loaded_sections, zeroed_sections
from bareflow_gdb.guest.stock.entry import Entry, entry_of
from bareflow_gdb.guest.stock.slide import slide_of
from bareflow_gdb.guest.stock.window import Window
from bareflow_gdb.memory.kernel_file import KernelFile
from bareflow_gdb.qemu.image import MOST_IMAGE, SECTOR, ImageHeader, RootSettings, decode_image_header, image_crc
from bareflow_gdb.small_files import read_small

_STAGE2 = slice(SECTOR, layouts.const("BF_IMAGE_LBA") * SECTOR)
_MOST_KERNEL = 1 << 20
_FIXED_COUNT = re.compile(rb"\x66\xb8\x09\0\0\0\xb9(..)", re.DOTALL)
"""mov eax, BF_IMAGE_LBA; mov cx, SECTORS: what a loader reads whose image says nothing of its size."""
_JMP_SHORT = 0xEB
_OF_THE_BUILD = ("build_id", "checksum", "image_bytes", "image_end")
SETTINGS = tuple(field.name for field in fields(RootSettings))
"""Words of the root descriptor that a launch may set."""
_ENTRY_BYTES = 96


@dataclass(frozen=True)
class Section:
    """A part of a kernel; `data` is None of one that begins as zeros."""

    name: str
    address: int
    size: int
    data: bytes | None


@dataclass(frozen=True)
class ModuleImage:
    """A module in the kernel's image."""

    name: str
    offset: int
    size: int
    digest: bytes
    """Its header and code, without what differs by where it lies."""


@dataclass(frozen=True)
class Parts:
    """One image."""

    path: Path
    loader: bytes
    """Stages 1 and 2; b"" of a kernel's own file."""
    kernel: bytes
    """The image as it is loaded."""
    base: int
    elf: Path | None

    @property
    def is_disk(self) -> bool:
        """Has it a loader?"""
        return bool(self.loader)

    @cached_property
    def header(self) -> ImageHeader | None:
        """Of a kernel of ours."""
        if self.kernel[4:5] != bytes([_JMP_SHORT]):
            return None
        try:
            return decode_image_header(self.kernel, str(self.path))
        except BadData:
            return None

    @cached_property
    def root(self) -> Root | None:
        """Of a kernel with the debug interface."""
        at = (self.header.root if self.header is not None else 0) - self.base
        try:
            return decode_root(at + self.base, self.kernel[at:]) if 0 < at < len(self.kernel) else None
        except BareflowError:
            return None

    @cached_property
    def compared(self) -> bytes:
        """The kernel without what differs from build to build: lengths, sums and ids in its header and root."""
        image = bytearray(self.kernel)
        if self.header is not None:
            image[self.entry_at : layouts.size("bf_image_header")] = bytes(
                layouts.size("bf_image_header") - self.entry_at
            )
        if self.header is not None and self.root is not None:
            for name in (*_OF_THE_BUILD, *SETTINGS):
                at = self.header.root - self.base + layouts.offset("bf_root", name)
                image[at : at + layouts.field_size("bf_root", name)] = bytes(layouts.field_size("bf_root", name))
        return bytes(image)

    @property
    def entry_at(self) -> int:
        """Offset of the first instruction; a header of ours is jumped over."""
        return 4 if self.header is None else 6

    @cached_property
    def first_code(self) -> bytes:
        """What runs first, behind the header."""
        start = 6 + self.kernel[5] if self.header is not None else 4
        return self.kernel[start : start + _ENTRY_BYTES]

    @cached_property
    def sectors_read(self) -> int | None:
        """By the loader's own code; None = it takes the image's size from its header."""
        found = _FIXED_COUNT.search(self.loader[_STAGE2])
        return int.from_bytes(found[1], "little") if found else None

    @cached_property
    def crc_is_right(self) -> bool:
        """Always of a kernel that has none."""
        if self.header is None or not self.header.image_bytes:
            return True
        return image_crc(self.kernel[: self.header.image_bytes]) == self.header.crc

    @cached_property
    def memory(self) -> KernelFile:
        """As if it were loaded."""
        return KernelFile([(self.base, self.kernel)])

    @cached_property
    def linked_at(self) -> int:
        """By what its code says of its strings."""
        return self.base - slide_of(Window(self.memory)).bytes

    @cached_property
    def entry(self) -> Entry:
        """What its first instructions set up."""
        return entry_of(self.memory)

    @cached_property
    def symbols(self) -> KernelSymbols:
        """Of its ELF; empty without one."""
        return load_elf(self.elf).symbols if self.elf is not None else KernelSymbols()

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Of its ELF; without one the whole image is one."""
        if self.elf is None:
            return (Section("image", self.base, len(self.kernel), self.kernel),)
        found = [Section(name, at, len(data), data) for name, at, data, _ in loaded_sections(self.elf)]
        return (*found, *(Section(name, start, end - start, None) for name, start, end in zeroed_sections(self.elf)))

    @cached_property
    def modules(self) -> tuple[ModuleImage, ...]:
        """The modules that it carries, by where they lie."""
        import hashlib

        magic, size = layouts.const("MODULE_MAGIC").to_bytes(4, "little"), layouts.size("module_header")
        found = []
        at = self.kernel.find(magic)
        while at >= 0:
            data = self.kernel[at : at + size]
            header = layouts.unpack("module_header", data) if len(data) == size else None
            name = clean(header.name) if header is not None else ""
            if header is not None and name.isidentifier() and 0 < header.code_size < len(self.kernel) - at:
                code = self.kernel[at + size : at + size + header.code_size]
                found.append(ModuleImage(name, at, header.code_size, hashlib.sha256(code).digest()))
            at = self.kernel.find(magic, at + 1)
        return tuple(found)


def read_parts(path: Path) -> Parts:
    """A boot disk, a kernel's ELF or its binary. Raises UsageError when it is none of them, BadData."""
    try:
        data = read_small(path, MOST_IMAGE)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read ({why}); give two boot disks or kernels") from error
    signature = layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little")
    start = layouts.const("BF_IMAGE_LBA") * SECTOR
    if data.startswith(b"\x7fELF"):
        parts = [one for one in loaded_sections(path) if one[1] < 1 << 20]
        if not parts:
            raise BadData(f"{path} is an ELF file without code; give the kernel's, or its boot disk")
        base = min(address for _, address, _, _ in parts)
        kernel = bytearray(max(address + len(part) for _, address, part, _ in parts) - base)
        for _, address, part, _ in parts:
            kernel[address - base : address - base + len(part)] = part
        return Parts(path, b"", bytes(kernel), base, path)
    if data.startswith(signature):
        return Parts(path, b"", data[:_MOST_KERNEL], USUAL, None)
    if data[510:512] == b"\x55\xaa" and data[54:59] != b"FAT16":
        return Parts(path, data[:start], _kernel_of(data[start:]), USUAL, _elf_of(path))
    raise UsageError(f"{path} is no boot disk and no kernel; give two boot disks, ELF files or binaries of kernels")


def _kernel_of(data: bytes) -> bytes:
    """Without what only fills the disk."""
    try:
        size = decode_image_header(data, "the disk").image_bytes if data[4:5] == bytes([_JMP_SHORT]) else 0
    except BadData:
        size = 0
    return data[:size] if 0 < size <= min(len(data), _MOST_KERNEL) else data[:_MOST_KERNEL].rstrip(b"\0")


def _elf_of(image: Path) -> Path | None:
    """The ELF beside a disk, when it is of that kernel."""
    try:
        found = beside(image)
        return next((path for path in found if _fits(path, image)), None)
    except BareflowError:
        return None


def _fits(elf: Path, image: Path) -> bool:
    """Is its code on the disk? A stock kernel's image carries no build id."""
    try:
        name, _, code, _ = loaded_sections(elf)[0]
    except (BareflowError, IndexError):
        return False
    with image.open("rb") as file:
        file.seek(layouts.const("BF_IMAGE_LBA") * SECTOR)
        return name == ".text" and file.read(min(len(code), _MOST_KERNEL))[64:] == code[64:]
