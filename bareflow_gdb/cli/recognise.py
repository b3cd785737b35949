"""What is this file or directory? Recognised by content, never by name; where the user says what it is, that counts."""

from __future__ import annotations

import struct
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.neighbours import neighbour
from bareflow_gdb.cli.target import Target, machine_target
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.guest.machine.serial import as_bytes
from bareflow_gdb.memory.contents import Contents

SECTOR = 512
HEAD_BYTES = 0x10000 + SECTOR
# Where loaders in the field put a kernel below the usual place; a boot disk has been recognised before.
_LOW_KERNELS = (0x1000, 0x8000)
ELF_CORE, ELF_I386 = 4, 3
MACHINES = {8: "MIPS", 20: "PowerPC", 21: "PowerPC", 22: "S390", 40: "ARM", 62: "x86-64", 183: "AArch64", 243: "RISC-V"}
# What the kernels in the field and ours print on COM1.
SERIAL_MARKS = (b"[serial]", b"[ADAPTIVE-JIT]", b"[tinyllama]", b"--- BEGIN JSON ---", b"[EXCEPTION]")


def open_path(path: Path, base: int | None = None, wanted: str = "") -> Target:
    """The target at `path`; raises UsageError when it is nothing we know, BadData when it is damaged.

    base: it is a raw dump that begins there, whatever is in it. wanted: the kind of file that the question is about
    ("serial", "disk"): what is no guest memory is taken for one, whatever it looks like.
    """
    if path.is_dir():
        if base is not None:
            raise UsageError(f"{path} is a directory; --base is for a file, a raw dump of memory")
        return _open_directory(path)
    file = Contents(path)
    head = file.read(0, HEAD_BYTES)
    if head.startswith(b"\x7fELF"):
        if base is not None:
            raise UsageError(f"{path} is an ELF file, which says its own addresses; leave --base out")
        return _open_elf(file, head)
    found = _dump(file, base) if base is not None else _open_plain(file, head)
    if found is None or (wanted and found.source is None):
        if wanted:
            return _only_unpacked(file, Target(wanted, f"{_WANTED[wanted]} {path}", path))
        raise UsageError(
            neighbour(path, head)
            or f"{path} is not recognised: it is not a core, raw dump, trace, disk image, kernel or serial log;"
            " if it is a dump of memory, --base ADDRESS says where that begins"
        )
    return found if found.source is not None else _only_unpacked(file, found)


_WANTED = {"serial": "serial log", "disk": "disk image"}


def _open_plain(file: Contents, head: bytes) -> Target | None:
    """By what is in it; None: nothing that is known."""
    path = file.path
    if neighbour(path, head):
        return None
    if _is_dump(head):
        return _dump(file, 0)
    base = _base_of(head)
    if head[510:512] == b"\x55\xaa" and base != layouts.const("BF_STAGE1_ADDRESS"):
        return _open_disk(path, head)
    if _word(head, 0) == layouts.const("BF_FLUD_MAGIC"):
        if _outgrows_kernel(file, head):
            return _dump(file, layouts.const("BF_IMAGE_BASE"), "by its first bytes")
        return Target("kernel", f"kernel binary {path}", path)
    if any(_word(head, at) == layouts.const("BF_FLUD_MAGIC") for at in _LOW_KERNELS):
        return _dump(file, 0)
    if base is not None:
        return _dump(file, base, "by what is in it")
    # A log is text: the same words in a dump are the kernel's own.
    text = as_bytes(head)
    if any(mark in text for mark in SERIAL_MARKS) and text.count(0) * 4 < len(text):
        return Target("serial", f"serial log {path}", path)
    return None


def _dump(file: Contents, base: int, guessed: str = "") -> Target:
    from bareflow_gdb.memory.dump import RawDump

    notes = [file.note and f"{file.path}: {file.note}"]
    if guessed:
        notes.append(f"{file.path} is a dump that begins at 0x{base:x}, {guessed}; --base ADDRESS says otherwise")
    begins = f", from 0x{base:x} on" if base else ""
    description = f"raw dump {file.path} ({file.size:,} bytes{begins})"
    return Target("dump", description, file.path, source=RawDump(file, base), notes=tuple(filter(None, notes)))


def _only_unpacked(file: Contents, target: Target) -> Target:
    """A file whose own bytes are read later on, so that it cannot be a compressed one."""
    if file.packed and target.kind != "serial":
        raise UsageError(f"{file.path} is a {file.packed}-compressed {target.kind}; `{file.tool} {file.path}` first")
    return target


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


def _open_elf(file: Contents, head: bytes) -> Target:
    path = file.path
    if len(head) < 20:
        raise BadData(f"{path} is a truncated ELF file of {len(head)} bytes")
    kind, machine = struct.unpack_from(">HH" if head[5] == 2 else "<HH", head, 16)
    if kind == ELF_CORE:
        from bareflow_gdb.memory.core import ElfCore

        core = ElfCore(file)
        notes = [file.note and f"{path}: {file.note}", *core.notes]
        return Target("core", f"core {path}", path, source=core, notes=tuple(filter(None, notes)))
    if machine != ELF_I386:
        built_for = MACHINES.get(machine, f"machine {machine}")
        raise UsageError(f"{path} is an ELF file for {built_for}, not i386: no core, and no BareFlow kernel")
    return _only_unpacked(file, Target("kernel", f"kernel ELF {path}", path))


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


def _outgrows_kernel(file: Contents, head: bytes) -> bool:
    """Is there more than a kernel binary: bytes behind the image, which memory has and the file of a kernel has not?"""
    image = layouts.unpack("bf_image_header", head.ljust(layouts.size("bf_image_header"), b"\0"))
    ours = head[4:5] == b"\xeb"
    end = image.image_bytes if ours else layouts.const("BF_IMAGE_MAX_SECTORS") * SECTOR
    end = -(-end // SECTOR) * SECTOR
    behind = range(end, file.size, 1 << 20)
    return any(any(file.read(at, 1 << 20)) for at in behind)


def _base_of(head: bytes) -> int | None:
    """Where a dump begins that has the kernel, or the boot record, at another offset than that of its address."""
    for magic, layout, address in (
        ("BF_BOOT_MAGIC", "bf_boot_record", layouts.const("BF_BOOT_RECORD_ADDRESS")),
        ("BF_FLUD_MAGIC", "bf_image_header", layouts.const("BF_IMAGE_BASE")),
    ):
        sought, size = layouts.const(magic).to_bytes(4, "little"), layouts.size(layout)
        at = head.find(sought)
        while 0 <= at < address and at + size <= len(head):
            if (address - at) % 16 == 0 and _is_record(layout, head[at : at + size]):
                return address - at
            at = head.find(sought, at + 1)
    return None


def _is_record(layout: str, data: bytes) -> bool:
    """Is it more than the magic, which code has in it too?"""
    raw = layouts.unpack(layout, data)
    if layout == "bf_boot_record":
        return bool(raw.size == len(data) and 0 < raw.stage <= layouts.const("BF_STAGE_HALTED"))
    base = layouts.const("BF_IMAGE_BASE")
    return bool(data[4] == 0xEB and base < raw.root < base + raw.image_bytes)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little") if at + 4 <= len(data) else 0
