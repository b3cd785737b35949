"""How large is the firmware, and does it keep within its limits? What was built, and figures of the booted guest.

python -m bareflow_gdb.build.limits --firmware build/firmware
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from elftools.elf.elffile import ELFFile

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import tool
from bareflow_gdb.build.finish_image import elf_facts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, RootSettings, read_image_header
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

KIB = 1024
BOOT_SECONDS = 120.0


@dataclass(frozen=True)
class Limit:
    """One figure and the most that it may be."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether it is kept."""
        return self.value <= self.limit

    def line(self) -> str:
        """The figure as a line of the table."""
        digits = 0 if self.unit == "bytes" else 2
        verdict = "ok" if self.met else "TOO MUCH"
        return f"{self.name:<44}{self.value:>9.{digits}f} of {self.limit:>7.0f} {self.unit:<12} {verdict}"


def parts(firmware: Path) -> list[str]:
    """What is on the kernel's disk in its order, each part with the most it may have, then the memory it takes."""
    disk, most = (firmware / "fluid.img").read_bytes(), layouts.const("BF_IMAGE_MAX_SECTORS") * SECTOR
    header, stage2 = read_image_header(firmware / "fluid.img"), layouts.const("BF_STAGE2_SECTORS") * SECTOR
    found = [
        # Without the boot signature and the zeros that fill the sectors.
        ("stage 1", len(disk[: SECTOR - 2].rstrip(b"\0")), SECTOR - 2),
        ("stage 2", len(disk[SECTOR : SECTOR + stage2].rstrip(b"\0")), stage2),
        ("kernel image", header.image_bytes, most),
    ]
    with (firmware / "kernel.elf").open("rb") as file:
        loaded = [section for section in ELFFile(file).iter_sections() if section["sh_flags"] & 2]  # SHF_ALLOC
        found += [(f"  {section.name}", section["sh_size"], 0) for section in loaded if section["sh_size"]]
    base = layouts.const("BF_IMAGE_BASE")
    _, _, end = elf_facts(firmware / "kernel.elf")
    found.append(("memory with .bss", end - base, layouts.const("BF_IMAGE_LIMIT") - base))
    lines = [
        f"{name:<24}{size:>9}" + (f" of {limit:>7}  {size / limit:6.1%}" if limit else "")
        for name, size, limit in found
    ]
    return [*lines, f"{header.sectors} of {most // SECTOR} sectors, CRC 0x{header.crc:08x}"]


def archive_bytes(archive: Path) -> int:
    """Code and data of all members of an archive. Raises BareflowError."""
    try:
        printed = subprocess.run(
            ["llvm-size-19", "-t", str(archive)], check=True, capture_output=True, encoding="utf-8", errors="replace"
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BareflowError(f"llvm-size-19 could not read {archive} ({error}); `make firmware` builds it") from error
    code, data = printed.splitlines()[-1].split()[:2]
    return int(code) + int(data)


def sizes(firmware: Path) -> list[Limit]:
    """The limits on what was built into the directory `firmware`."""
    return [
        Limit(
            "kernel, 12 modules at O0, debug interface",
            read_image_header(firmware / "fluid.img").image_bytes,
            96 * KIB,
            "bytes",
        ),
        Limit("micro-JIT", archive_bytes(firmware / "microjit/libmicrojit.a"), 10 * KIB, "bytes"),
        Limit("kernel_lib.a", archive_bytes(firmware / "kernel_lib/kernel_lib.a"), 15 * KIB, "bytes"),
        Limit(
            "tinyllama_bare.bin without debug interface",
            (firmware / "tinyllama_nodebug.bin").stat().st_size,
            14 * KIB,
            "bytes",
        ),
        Limit("tinyllama_bare.bin", (firmware / "tinyllama_bare.bin").stat().st_size, 32 * KIB, "bytes"),
    ]


def counted(firmware: Path) -> list[Limit]:
    """What the host's load does not change: under icount shift=0 the TSC counts instructions, a nanosecond each."""
    scenario = layouts.const("BF_SCENARIO_CALL_COST")
    with _booted(firmware / "fluid.img", scenario, icount=0) as machine:
        status = _status(machine)
        record = _record(machine, "bf_boot_record", layouts.const("BF_BOOT_RECORD_ADDRESS"))
    first, main = (layouts.const(f"BF_STAGE_{stage}") for stage in ("STAGE1", "KERNEL"))
    boot = (record.stage_tsc[main] - record.stage_tsc[first]) / status.tsc_hz
    added = (status.bench_on_tsc - status.bench_empty_tsc) / status.bench_iterations
    return [Limit("boot sector to main", boot, 1, "s"), Limit("profiling, added to a call", added, 65, "instructions")]


def call_site(firmware: Path) -> Limit:
    """What a masked event's call site takes; it depends on the host's speed and load."""
    with _booted(firmware / "fluid.img", layouts.const("BF_SCENARIO_RING_COST")) as machine:
        status = _status(machine)
    ticks = (status.bench_off_tsc - status.bench_empty_tsc) / status.bench_iterations
    return Limit("ring off, a call site", ticks / status.tsc_hz * 1e9, 3, "ns")


@contextmanager
def _booted(image: Path, scenario: int, icount: int | None = None) -> Iterator[Machine]:
    with TemporaryDirectory(prefix="bfl-") as folder:
        machine = launch(image, directory=Path(folder) / "vm", settings=RootSettings(scenario=scenario), icount=icount)
        try:
            wait_for_stage(machine, "idle", BOOT_SECONDS)
            yield machine
        finally:
            machine.stop()


def _record(machine: Machine, name: str, address: int) -> Any:
    return layouts.unpack(name, machine.memory().read(address, layouts.size(name), name))


def _status(machine: Machine) -> Any:
    header = _record(machine, "bf_image_header", layouts.const("BF_IMAGE_BASE"))
    return _record(machine, "bf_status", _record(machine, "bf_root", header.root).status)


def main(arguments: list[str] | None = None) -> int:
    parser = tool.parser("limits", __doc__)
    parser.add_argument("--firmware", type=Path, required=True, help="the directory that was built")
    return tool.run("limits", parser.parse_args(arguments), _tell)


def _tell(options: tool.Options) -> None:
    found = [*sizes(options.firmware), *counted(options.firmware), call_site(options.firmware)]
    print("\n".join((*parts(options.firmware), *(limit.line() for limit in found))))


if __name__ == "__main__":
    sys.exit(main())
