"""What is on a boot disk, and how is it changed before a launch?

Disk: stage 1 in sector 0, stage 2 in sectors 1 to 8, the kernel image from sector 9 on. The kernel image
begins with `struct bf_image_header`, which leads to the root descriptor, whose last words may be set before
a run.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.files import write_atomically
from bareflow_gdb.small_files import read_small

SECTOR = 512
FLOPPY_BYTES = 1_474_560
"""A disk image is at least this long, so that the same file boots as a 1.44 MB floppy and as a hard disk."""
MOST_IMAGE = 64 << 20
"""Of a disk that is read whole, to be changed."""


@dataclass(frozen=True)
class RootSettings:
    """The words of the root descriptor that may be set before a run; their meaning is in `struct bf_root`."""

    thresholds: tuple[int, int, int] = (100, 1000, 10000)
    hold: int = 0
    scenario: int = 0
    run_calls: int = 0
    call_sample: int = 0
    hook_mask: int = 0


@dataclass(frozen=True)
class ImageHeader:
    """`struct bf_image_header`, decoded."""

    root: int
    image_bytes: int
    crc: int

    @property
    def sectors(self) -> int:
        return -(-self.image_bytes // SECTOR)


def decode_image_header(kernel: bytes, source: str) -> ImageHeader:
    """The header at the start of `kernel`. Raises BadData, naming `source`, when there is none."""
    size = layouts.size("bf_image_header")
    if len(kernel) < size:
        raise BadData(f"{source} has {len(kernel)} bytes where a kernel image begins; it is truncated, rebuild it")
    header = layouts.unpack("bf_image_header", kernel[:size])
    if header.magic != layouts.const("BF_FLUD_MAGIC"):
        raise BadData(
            f"{source} does not hold a kernel image: FLUD is expected at its start, "
            f"0x{header.magic:08x} is there; choose a disk image made by `make firmware`"
        )
    return ImageHeader(header.root, header.image_bytes, header.crc)


def put(image: bytearray, struct: str, at: int, **values: int | bytes) -> None:
    """Sets fields of the structure at offset `at`: words, or bytes as they are."""
    for field, value in values.items():
        data = value if isinstance(value, bytes) else value.to_bytes(4, "little")
        where = at + layouts.offset(struct, field)
        image[where : where + len(data)] = data


def root_magic() -> bytes:
    """What a root descriptor begins with."""
    return b"".join(layouts.const(f"BF_ROOT_MAGIC{n}").to_bytes(4, "little") for n in range(4))


def read_image_header(image: Path) -> ImageHeader:
    """The header of the kernel on a disk image. Raises BadData or UsageError."""
    return decode_image_header(_kernel_part(image, _read(image)), str(image))


def image_crc(kernel: bytes) -> int:
    """CRC-32 of a whole kernel image, its own crc field taken as 0."""
    at = layouts.offset("bf_image_header", "crc")
    return zlib.crc32(kernel[at + 4 :], zlib.crc32(b"\0\0\0\0", zlib.crc32(kernel[:at])))


def compose_disk(stage1: bytes, stage2: bytes, kernel: bytes) -> bytes:
    """A bootable disk. Raises BadData when a stage has not its exact size."""
    stage2_bytes = layouts.const("BF_STAGE2_SECTORS") * SECTOR
    for name, stage, size in (("stage 1", stage1, SECTOR), ("stage 2", stage2, stage2_bytes)):
        if len(stage) != size:
            raise BadData(f"{name} has {len(stage)} bytes and must have {size}; rebuild it")
    disk = stage1 + stage2 + kernel
    whole = max(FLOPPY_BYTES, -(-len(disk) // SECTOR) * SECTOR)
    return disk.ljust(whole, b"\0")


def patched_kernel(kernel: bytes, settings: RootSettings, source: str) -> bytes:
    """The kernel image with the root descriptor's words set and the image CRC made right again.

    Raises BadData when `kernel` has no header or no root descriptor, UsageError when a setting does not fit.
    """
    header = decode_image_header(kernel, source)
    if not layouts.size("bf_image_header") < header.image_bytes <= len(kernel):
        raise BadData(
            f"{source} holds {len(kernel)} bytes of a kernel image that says it has {header.image_bytes}; "
            "the image is truncated, rebuild it"
        )
    changed = bytearray(kernel[: header.image_bytes])
    if image_crc(bytes(changed)) != header.crc:
        raise BadData(f"{source}: the kernel image differs from its CRC; it is damaged, rebuild it")
    root = header.root - layouts.const("BF_IMAGE_BASE")
    if not 0 <= root <= len(changed) - layouts.size("bf_root") or not changed.startswith(root_magic(), root):
        raise BadData(f"{source}: no root descriptor at 0x{header.root:08x}; the image is not one of this ABI")
    for name, value in asdict(settings).items():
        words = value if isinstance(value, tuple) else (value,)
        try:
            packed = b"".join(int(word).to_bytes(4, "little") for word in words)
        except OverflowError as error:
            raise UsageError(f"{name}={value} does not fit 32 bits; choose 0 to 4294967295") from error
        if len(packed) != layouts.field_size("bf_root", name):
            raise UsageError(f"{name}={value} has the wrong number of values")
        put(changed, "bf_root", root, **{name: packed})
    put(changed, "bf_image_header", 0, crc=image_crc(bytes(changed)))
    return bytes(changed) + kernel[header.image_bytes :]


def patched_copy(image: Path, settings: RootSettings, out: Path) -> None:
    """Write to `out` a copy of a disk image with these settings: whole or not at all.

    Raises BadData when `image` is not a disk image of this project, UsageError when it cannot be read, CannotWrite.
    """
    disk = _read(image)
    kernel = patched_kernel(_kernel_part(image, disk), settings, str(image))
    write_atomically(out, disk[: len(disk) - len(kernel)] + kernel)


def _read(image: Path) -> bytes:
    try:
        return read_small(image, MOST_IMAGE)
    except ValueError as error:
        raise UsageError(f"{image} is not a disk image of this project: {error}; give another") from error
    except OSError as error:
        raise UsageError(f"cannot read {image}: {error.strerror}; `make firmware` builds the images") from error


def _kernel_part(image: Path, disk: bytes) -> bytes:
    start = layouts.const("BF_IMAGE_LBA") * SECTOR
    if len(disk) <= start:
        raise BadData(
            f"{image} has {len(disk)} bytes, the kernel of a disk image begins at {start}; "
            "choose a disk image made by `make firmware`"
        )
    return disk[start:]
