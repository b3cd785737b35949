"""What TARGET means: files are recognised by content, and what cannot be asked is told in one sentence."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from test_core import core_bytes

from bareflow_gdb.cli.recognise import open_path
from bareflow_gdb.cli.targets import open_target
from bareflow_gdb.errors import BadData, BareflowError, Unreachable, UsageError

FLUD = struct.pack("<I", 0x464C5544)
BOOT_SECTOR = bytes(510) + b"\x55\xaa"


def made(folder: Path, data: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    return path


def test_an_elf_core_is_recognised(tmp_path: Path) -> None:
    target = open_path(made(tmp_path, core_bytes()))
    assert target.kind == "core"
    assert target.memory.read(0x1200, 1, "byte") == b"\x12"


def test_a_raw_dump_is_recognised_by_its_boot_record(tmp_path: Path) -> None:
    target = open_path(made(tmp_path, bytes(0x600) + b"BFBR" + bytes(0x1000)))
    assert target.kind == "dump"
    assert target.memory.read(0x600, 4, "boot record") == b"BFBR"


def test_a_raw_dump_is_recognised_by_the_kernel_in_it(tmp_path: Path) -> None:
    target = open_path(made(tmp_path, bytes(0x10000) + FLUD + bytes(0x1000)))
    assert target.kind == "dump"


def test_reading_beyond_the_end_of_a_truncated_dump_says_where_it_ends(tmp_path: Path) -> None:
    target = open_path(made(tmp_path, bytes(0x600) + b"BFBR" + bytes(0x100)))
    with pytest.raises(BareflowError, match=r"0x00000000-0x00000704"):
        target.memory.read(0x10000, 32, "image header")


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (BOOT_SECTOR + bytes(8 * 512) + FLUD, "disk", "boot disk image"),
        (bytes(54) + b"FAT16   " + bytes(448) + b"\x55\xaa", "disk", "FAT16 disk image"),
        (BOOT_SECTOR, "disk", "without a kernel"),
        (FLUD + bytes(100), "kernel", "kernel binary"),
        (b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HH", 2, 3) + bytes(32), "kernel", "kernel ELF"),
        (b"[serial] init ok\r\n[kernel] up\r\n", "serial", "serial log"),
        ("\ufeff[serial] init ok\r\n".encode("utf-16-le"), "serial", "serial log"),
        ("--- BEGIN JSON ---\r\n".encode("utf-16-be"), "serial", "serial log"),
        (b"\x1bc\x1b[2J\x1b[0m[serial] init ok\r\n\0\0", "serial", "serial log"),
    ],
)
def test_a_file_without_guest_memory_says_what_it_is(tmp_path: Path, data: bytes, kind: str, words: str) -> None:
    target = open_path(made(tmp_path, data))
    assert target.kind == kind
    with pytest.raises(UsageError, match=f"{words}.*give a running machine, a core, a dump or a trace"):
        _ = target.memory


def test_an_elf_for_another_machine_is_refused(tmp_path: Path) -> None:
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 62) + bytes(32)
    with pytest.raises(UsageError, match="ELF file for x86-64, not i386"):
        open_path(made(tmp_path, elf))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", BadData),
        (b"\x7fELF", BadData),
        (bytes(4096), UsageError),
        (b"\xff" * 700, UsageError),
        (b"# Read me\n", UsageError),
    ],
)
def test_an_empty_truncated_or_foreign_file_is_refused(tmp_path: Path, data: bytes, error: type[BareflowError]) -> None:
    with pytest.raises(error):
        open_path(made(tmp_path, data))


def test_a_directory_without_a_manifest_is_no_trace(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a trace: it has no manifest\.json"):
        open_path(tmp_path)


def test_a_name_that_no_machine_has_and_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no machine named nobody is running"):
        open_target("nobody")
    with pytest.raises(UsageError, match="does not exist"):
        open_target(str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="the target is empty"):
        open_target("")


def test_without_a_target_and_without_a_machine_there_is_a_next_step() -> None:
    with pytest.raises(Unreachable, match="`bareflow run` starts one"):
        open_target(None)
