"""Is the code in memory what its image says: the tier, every byte, and where its relocations lead?"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.absent import if_it_has
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.jit_code import IN_MEMORY
from bareflow_gdb.guest.modules.modules import Module, read_image
from bareflow_gdb.guest.modules.placed import Bases, Image, Placed, placed, read_bases, read_parts

HOST_ASKED = "host_asked"


@dataclass(frozen=True)
class _There:
    """A part in memory that was made from an image."""

    title: str
    address: int
    expected: Placed
    crc: int | None
    """As the kernel recorded it; another finding tells when the bytes are not those."""


def _look(subject: Subject) -> Iterator[Finding]:
    images: dict[tuple[str, int], Image] = {}
    yield from _cached(subject, images)
    for one in _parts(subject, images):
        data = subject.kernel.memory.read(one.address, len(one.expected.data), one.title)
        if data == one.expected.data or (one.crc is not None and zlib.crc32(data) != one.crc):
            continue
        yield Finding(
            what=f"{one.title} is not what its image says",
            where=f"0x{one.address:08x}",
            evidence=_difference(one, data, images),
            consequence="what runs there is other code, or works on other memory, than was compiled",
            next_step=f"`disas 0x{one.address:x}` shows it; look at how the kernel copies and relocates images",
        )


def _cached(subject: Subject, images: dict[tuple[str, int], Image]) -> Iterator[Finding]:
    """The images in the cache by function and tier; those that are of another tier are told."""
    try:
        slots = subject.cache.slots
    except BareflowError:
        return
    for slot in slots:
        image = read_parts(read_image(subject.kernel.memory, slot.image, slot.image_size))
        if image is None:
            continue
        images[slot.name, slot.level] = image
        if image.tier not in (None, slot.level):
            yield Finding(
                what=f"the cache has O{image.tier} of {slot.name} for O{slot.level}",
                where=f"0x{slot.image:08x}",
                evidence="the image's tail names its tier",
                consequence="a swap to that tier publishes the code of another",
                next_step="`cache` shows the slots; make the disk image again",
            )


def _parts(subject: Subject, images: dict[tuple[str, int], Image]) -> Iterator[_There]:
    modules = if_it_has(lambda: subject.modules)
    if modules is None:
        return
    where = read_bases(subject.kernel.memory, subject.kernel.need_interface("it keeps no images"), modules.count)
    for module in modules.modules:
        image = _image_of(module, subject)
        if image is None or module.level is None or module.index >= len(where):
            continue
        if module.source != HOST_ASKED:
            # One from the host took the place of that which the guest's own tiers were made of.
            images.setdefault((module.name, module.level), image)
        yield from _two(f"module {module.name}", image, where[module.index], None)
    for version in subject.versions:
        of = subject.functions[version.function].module if version.function < len(subject.functions) else None
        image = images.get((version.function_name, version.level))
        if image is None or of is None or of >= len(where) or version.state not in IN_MEMORY:
            continue
        if version.provider != "precompiled":
            continue
        bases = {"code": int(version.code), "data": where[of]["data"], "rodata": int(version.rodata)}
        yield from _two(version.title, image, bases, int(version.code_crc))


def _image_of(module: Module, subject: Subject) -> Image | None:
    """None when it is not kept, or is damaged: that is a finding of its own."""
    if not module.image or module.digest == "wrong":
        return None
    return read_parts(read_image(subject.kernel.memory, module.image, module.image_size))


def _two(title: str, image: Image, bases: Bases, crc: int | None) -> Iterator[_There]:
    code, rodata = placed(image, bases)
    if bases["code"]:
        yield _There(f"the code of {title}", bases["code"], code, crc)
    if bases["rodata"] and rodata.data:
        yield _There(f"the read-only data of {title}", bases["rodata"], rodata, None)


def _difference(one: _There, data: bytes, images: dict[tuple[str, int], Image]) -> str:
    expected = one.expected
    first = next(at for at, (a, b) in enumerate(zip(data, expected.data, strict=True)) if a != b)
    for at, base in expected.words.items():
        if at <= first < at + 4:
            has, right = (int.from_bytes(part[at : at + 4], "little") for part in (data, expected.data))
            return (
                f"a relocation: the word at 0x{one.address + at:08x} leads to 0x{has:08x}, "
                f"relative to its {base} it is 0x{right:08x}"
            )
    different = sum(a != b for a, b in zip(data, expected.data, strict=True))
    size = len(expected.data)
    for (name, level), image in images.items():
        if f" {name}@" in one.title and f"@O{level} " not in one.title and _is_same(image, data):
            return f"{different:,} of {size:,} bytes differ: it is the code of O{level}"
    return f"{different:,} of {size:,} bytes differ, the first at 0x{one.address + first:08x}"


def _is_same(image: Image, data: bytes) -> bool:
    """Does it begin as the code of that image does, up to its first relocation?"""
    end = min([offset for offset, _ in image.relocations if offset < len(image.code)] + [len(image.code), len(data)])
    return end > 16 and data[:end] == image.code[:end]


CHECK = Check("code_origin", "code and read-only data against the images in memory, with relocations", (ROOT,), _look)
