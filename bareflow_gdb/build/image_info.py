"""How large is the firmware, against its limits?

python -m bareflow_gdb.build.image_info --elf kernel.elf --disk fluid.img
"""

from __future__ import annotations

import sys
from pathlib import Path

from elftools.elf.elffile import ELFFile

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import tool
from bareflow_gdb.build.finish_image import elf_facts
from bareflow_gdb.qemu.image import SECTOR, read_image_header


def line(name: str, size: int, limit: int = 0) -> str:
    """Bytes of one part, and the most it may have; limit 0 = none of its own."""
    return f"{name:<24}{size:>9}" + (f" of {limit:>7}  {size / limit:6.1%}" if limit else "")


def boot_code_bytes(stage: bytes) -> int:
    """Bytes of a stage without the zeros that fill its sectors and the boot signature."""
    return len(stage.removesuffix(b"\x55\xaa").rstrip(b"\0"))


def sizes(elf: Path, disk: Path) -> list[str]:
    """A line for each part in the order in which they lie on disk, then the memory they take."""
    limit = layouts.const("BF_IMAGE_MAX_SECTORS") * SECTOR
    stage2 = layouts.const("BF_STAGE2_SECTORS") * SECTOR
    content = disk.read_bytes()
    header = read_image_header(disk)
    found = [
        line("stage 1", boot_code_bytes(content[:SECTOR]), SECTOR - 2),
        line("stage 2", boot_code_bytes(content[SECTOR : SECTOR + stage2]), stage2),
        line("kernel image", header.image_bytes, limit),
    ]
    with elf.open("rb") as file:
        for section in ELFFile(file).iter_sections():
            if section["sh_flags"] & 2 and section["sh_size"]:  # SHF_ALLOC
                found.append(line(f"  {section.name}", section["sh_size"]))
    _, _, end = elf_facts(elf)
    base = layouts.const("BF_IMAGE_BASE")
    found.append(line("memory with .bss", end - base, layouts.const("BF_IMAGE_LIMIT") - base))
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = tool.parser("image_info", __doc__)
    parser.add_argument("--elf", type=Path, required=True)
    parser.add_argument("--disk", type=Path, required=True)
    return tool.run("image_info", parser.parse_args(arguments), _tell)


def _tell(options: tool.Options) -> None:
    print("\n".join(sizes(options.elf, options.disk)))
    header = read_image_header(options.disk)
    print(f"{header.sectors} of {layouts.const('BF_IMAGE_MAX_SECTORS')} sectors, CRC 0x{header.crc:08x}")


if __name__ == "__main__":
    sys.exit(main())
