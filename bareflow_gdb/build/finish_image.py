"""What does a linked kernel still lack? Completes its image, and puts it on a disk with the boot stages.

    python -m bareflow_gdb.build.finish_image --elf kernel.elf --kernel kernel.bin --stage1 stage1.bin \\
        --stage2 stage2.bin --disk fluid.img

Filled in is what only the finished image knows: its length, the build id, the root's checksum, the CRC.
An image larger than the loader reads is refused here, where it can be seen.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection, SymbolTableSection

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import tool
from bareflow_gdb.errors import BadData
from bareflow_gdb.files import BY_UMASK, write_atomically
from bareflow_gdb.qemu.image import SECTOR, compose_disk, decode_image_header, image_crc, put, root_magic


def check_size(image_bytes: int) -> None:
    """Raises BadData when stage 2 would not read all of the image."""
    limit = layouts.const("BF_IMAGE_MAX_SECTORS")
    needed = -(-image_bytes // SECTOR)
    if needed > limit:
        raise BadData(
            f"image needs {needed} sectors, the loader reads {limit}: make the kernel at least "
            f"{image_bytes - limit * SECTOR} bytes smaller"
        )


def finished_kernel(raw: bytes, build_id: bytes, root: int, end: int) -> bytes:
    """The kernel image `raw` with header and root descriptor (at address `root`; 0 = it has none) completed.

    end: first address after .bss. Raises BadData when the image is too large, or header and root disagree.
    """
    check_size(len(raw))
    header = decode_image_header(raw, "the linked kernel")
    if header.root != root:
        raise BadData(f"the image header leads to 0x{header.root:08x}, bareflow_root is at 0x{root:08x}; relink")
    image = bytearray(raw)
    base = layouts.const("BF_IMAGE_BASE")

    if root:
        at = root - base
        descriptor = layouts.unpack("bf_root", bytes(image[at:]))
        if not image.startswith(root_magic(), at):
            raise BadData("bareflow_root does not begin with the root magic; initialise it in the kernel's source")
        if descriptor.checked_size != layouts.offset("bf_root", "thresholds"):
            raise BadData("bareflow_root.checked_size must end before the settable words")
        size, name = len(image), build_id[:20].ljust(20, b"\0")
        put(image, "bf_root", at, image_base=base, image_bytes=size, image_end=end, build_id=name, checksum=0)
        put(image, "bf_root", at, checksum=zlib.crc32(image[at : at + descriptor.checked_size]))
    put(image, "bf_image_header", 0, image_bytes=len(image))
    put(image, "bf_image_header", 0, crc=image_crc(bytes(image)))
    return bytes(image)


def elf_facts(elf: Path) -> tuple[bytes, int, int]:
    """Build id, address of bareflow_root, address of _end. Raises BadData when one is not in the ELF file."""
    with elf.open("rb") as file:
        parsed = ELFFile(file)
        notes = parsed.get_section_by_name(".note.gnu.build-id")
        table = parsed.get_section_by_name(".symtab")
        if not isinstance(notes, NoteSection) or not isinstance(table, SymbolTableSection):
            raise BadData(f"{elf} has no build id or no symbols; link it with --build-id=sha1 and do not strip it")
        build_id = bytes.fromhex(next(note["n_desc"] for note in notes.iter_notes()))
        found = {}
        for name in ("bareflow_root", "_end"):
            symbols = table.get_symbol_by_name(name)
            if not symbols:
                raise BadData(f"{elf} has no symbol {name}")
            found[name] = int(symbols[0]["st_value"])
    return build_id, found["bareflow_root"], found["_end"]


def main(arguments: list[str] | None = None) -> int:
    parser = tool.parser("finish_image", __doc__)
    parser.add_argument("--kernel", type=Path, required=True, help="raw image, completed in place")
    for option in ("--elf", "--stage1", "--stage2", "--disk"):
        parser.add_argument(option, type=Path, required=True)
    return tool.run("finish_image", parser.parse_args(arguments), _finish)


def _finish(options: tool.Options) -> None:
    build_id, root, end = elf_facts(options.elf)
    kernel = finished_kernel(options.kernel.read_bytes(), build_id, root, end)
    disk = compose_disk(options.stage1.read_bytes(), options.stage2.read_bytes(), kernel)
    write_atomically(options.kernel, kernel, BY_UMASK)
    write_atomically(options.disk, disk, BY_UMASK)
    limit = layouts.const("BF_IMAGE_MAX_SECTORS")
    print(f"{options.disk.name}: kernel of {len(kernel):,} bytes, {-(-len(kernel) // SECTOR)} of {limit} sectors")


if __name__ == "__main__":
    sys.exit(main())
