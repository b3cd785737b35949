"""What is this file or directory? Recognised by content, never by name."""

from __future__ import annotations

import struct
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.target import Target, machine_target
from bareflow_gdb.errors import BadData, UsageError

SECTOR = 512
HEAD_BYTES = 0x10000 + SECTOR
ELF_CORE, ELF_I386 = 4, 3
MACHINES = {8: "MIPS", 40: "ARM", 62: "x86-64", 183: "AArch64", 243: "RISC-V"}
# What the kernels in the field and ours print on COM1.
SERIAL_MARKS = (b"[serial]", b"[ADAPTIVE-JIT]", b"[tinyllama]", b"--- BEGIN JSON ---", b"[EXCEPTION]")


def open_path(path: Path) -> Target:
    """The target at `path`; raises UsageError when it is nothing we know, BadData when it is damaged."""
    if path.is_dir():
        return _open_directory(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be opened ({error.strerror})") from error
    if not head:
        raise BadData(f"{path} is empty; give a core, a dump, a trace or a running machine")
    if head.startswith(b"\x7fELF"):
        return _open_elf(path, head)
    if head[510:512] == b"\x55\xaa":
        return _open_disk(path, head)
    if _is_dump(head):
        from bareflow_gdb.memory.dump import RawDump

        return Target("dump", f"raw dump {path} ({size} bytes)", path, source=RawDump(path))
    if _word(head, 0) == layouts.const("BF_FLUD_MAGIC"):
        return Target("kernel", f"kernel binary {path}", path)
    if any(mark in head for mark in SERIAL_MARKS):
        return Target("serial", f"serial log {path}", path)
    raise UsageError(f"{path} is not recognised: it is not a core, raw dump, trace, disk image, kernel or serial log")


def _open_directory(path: Path) -> Target:
    if (path / "manifest.json").is_file():
        return _open_trace(path)
    if (path / "machine.json").is_file():
        from bareflow_gdb.qemu.machine import Machine

        machine = Machine.load(path.absolute())
        if machine is not None and machine.alive():
            return machine_target(machine)
        raise UsageError(f"the machine of {path} has ended; give its trace or a core")
    raise UsageError(f"{path} is not a trace: it has no manifest.json")


def _open_trace(path: Path) -> Target:
    from bareflow_gdb.memory.snapshot import SnapshotMemory
    from bareflow_gdb.tracing.store import Trace

    trace = Trace.open(path)
    description = f"trace {path}"
    try:
        return Target("trace", description, path, trace=trace, source=SnapshotMemory(path))
    except BadData as error:
        # Its events can be asked all the same.
        return Target("trace", description, path, trace=trace, no_memory=f"holds no guest memory: {error}")


def _open_elf(path: Path, head: bytes) -> Target:
    if len(head) < 20:
        raise BadData(f"{path} is a truncated ELF file of {len(head)} bytes")
    kind, machine = struct.unpack_from("<HH", head, 16)
    if kind == ELF_CORE:
        from bareflow_gdb.memory.core import ElfCore

        return Target("core", f"core {path}", path, source=ElfCore(path))
    if machine != ELF_I386:
        built_for = MACHINES.get(machine, f"machine {machine}")
        raise UsageError(f"{path} is an ELF file for {built_for}, not i386: no core, and no BareFlow kernel")
    return Target("kernel", f"kernel ELF {path}", path)


def _open_disk(path: Path, head: bytes) -> Target:
    kernel = layouts.const("BF_IMAGE_LBA") * SECTOR
    if _word(head, kernel) == layouts.const("BF_FLUD_MAGIC"):
        return Target("disk", f"boot disk image {path}", path)
    if head[54:59] == b"FAT16":
        return Target("disk", f"FAT16 disk image {path}", path)
    return Target("disk", f"disk image {path} without a kernel", path)


def _is_dump(head: bytes) -> bool:
    record = layouts.const("BF_BOOT_RECORD_ADDRESS")
    return _word(head, record) == layouts.const("BF_BOOT_MAGIC") or _word(
        head, layouts.const("BF_IMAGE_BASE")
    ) == layouts.const("BF_FLUD_MAGIC")


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little") if at + 4 <= len(data) else 0
