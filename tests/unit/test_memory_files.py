"""Files that hold memory in another way: compressed, cut off, shifted; and files that hold none, with the next step."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import socket
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pytest
from fake_guest import RAM_BYTES, FakeGuest
from test_core import core_bytes

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.main import main
from bareflow_gdb.cli.recognise import open_path
from bareflow_gdb.errors import BadData, BareflowError, ReadError, UsageError
from bareflow_gdb.guest.machine.serial import read_serial_file
from bareflow_gdb.memory import contents
from bareflow_gdb.memory.contents import Contents

IMAGE = layouts.const("BF_IMAGE_BASE")


@pytest.fixture(scope="module")
def ram() -> bytes:
    return bytes(FakeGuest().build().ram)


def made(folder: Path, data: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def zstd(data: bytes) -> bytes:
    out = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_compressed_memory_is_read_as_it_is(tmp_path: Path, ram: bytes, pack: object) -> None:
    assert callable(pack)
    dump = open_path(made(tmp_path, pack(ram)))
    assert (dump.kind, dump.notes) == ("dump", ())
    assert dump.memory.read(IMAGE, 64, "image header") == ram[IMAGE : IMAGE + 64]
    core = open_path(made(tmp_path, pack(core_bytes())))
    assert (core.kind, core.notes) == ("core", ())
    assert core.memory.cpu().general["eip"] == 0x10123


def test_every_member_of_a_gzip_file_counts(tmp_path: Path, ram: bytes) -> None:
    half = len(ram) // 2
    packed = gzip.compress(ram[:half]) + gzip.compress(ram[half:]) + bytes(100)
    assert Contents(made(tmp_path, packed)).size == len(ram)


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_what_comes_out_before_the_damage_is_kept(tmp_path: Path, ram: bytes, pack: object, damage: str) -> None:
    assert callable(pack)
    noise = random.Random(1).randbytes(4 << 20)
    packed = bytearray(pack(ram[: 1 << 20] + noise))
    at = len(packed) - (1 << 20)
    if damage == "cut":
        del packed[at:]
    else:
        packed[at : at + 64] = bytes(64)
    target = open_path(made(tmp_path, bytes(packed)))
    assert target.memory.read(IMAGE, 64, "image header") == ram[IMAGE : IMAGE + 64]
    if damage == "cut":
        assert "ends or is damaged after" in target.notes[0]
        with pytest.raises(ReadError, match="not inside the RAM of this raw dump"):
            target.memory.read(5 << 20, 16, "its end")


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_decompression_bomb_is_bounded(
    tmp_path: Path, ram: bytes, pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(pack)
    monkeypatch.setattr(contents, "UNPACKED_BYTES", 3 << 20)
    file = Contents(made(tmp_path, pack(ram[: 1 << 20] + bytes(40 << 20))))
    assert (file.size, file.read(IMAGE, 4)) == (3 << 20, ram[IMAGE : IMAGE + 4])
    assert "only its first 3,145,728 bytes" in file.note
    # Zeros take no room.
    assert os.fstat(file.file.fileno()).st_blocks * 512 < 2 << 20


def tar(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("core")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("core", data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "what", "step"),
    [
        (b"makedumpfile".ljust(16, b"\0") + (1).to_bytes(8, "big") * 2 + bytes(4064), "kdump", "makedumpfile -R"),
        (b"KDUMP   " + bytes(600), "kdump", "dump-guest-memory` and no format"),
        (b"QFI\xfb\0\0\0\3" + bytes(600), "qcow2", "qemu-img convert"),
        (b"KDMV\1\0\0\0" + bytes(600), "VMDK", "qemu-img convert"),
        (b"QEVM\0\0\0\3" + bytes(600), "migration stream", "-incoming"),
        (b"LibvirtQemudSave" + bytes(600), "libvirt", "dump-guest-memory"),
        (b"MDMP\x93\xa7" + bytes(600), "minidump", "make a core"),
        (b"PAGEDU64" + bytes(600), "Windows crash dump", "dump-guest-memory"),
        (b"EMiL\1\0\0\0" + bytes(600), "LiME", "raw format"),
        (lzma.compress(b"x" * 999), "xz", "xz -dk"),
        (bz2.compress(b"x" * 999), "bzip2", "bzip2 -dk"),
        (tar(core_bytes()), "tar archive", "tar -xf"),
        (gzip.compress(tar(core_bytes()), mtime=0), "tar archive", "tar -xf"),
        (zipped(core_bytes()), "zip archive", "unzip"),
        (gzip.compress(gzip.compress(core_bytes(), mtime=0), mtime=0), "once more", "gunzip"),
        (core_bytes(machine=183), "EM_AARCH64", "bareflow core"),
        (core_bytes(machine=62), "EM_X86_64", "drgn"),
        (b":10000000" + b"00" * 300, "Intel hex", "objcopy -I ihex"),
        (bytes(4096), "not recognised", "--base ADDRESS"),
    ],
)
def test_a_neighbour_is_named_with_the_next_step(tmp_path: Path, data: bytes, what: str, step: str) -> None:
    with pytest.raises(BareflowError) as caught:
        open_path(made(tmp_path, data, "a file"))
    assert what in str(caught.value)
    assert step in str(caught.value)
    assert f"{tmp_path}/a file" in str(caught.value)


def test_a_dump_that_begins_at_the_kernel_is_no_kernel_binary(tmp_path: Path, ram: bytes) -> None:
    target = open_path(made(tmp_path, ram[IMAGE:]))
    assert target.kind == "dump"
    assert "begins at 0x10000" in target.notes[0]
    assert target.memory.read(IMAGE, 64, "image header") == ram[IMAGE : IMAGE + 64]
    image = ram[IMAGE : IMAGE + 0x28000]
    assert open_path(made(tmp_path, image)).kind == "kernel"
    assert open_path(made(tmp_path, image.ljust(0x60000, b"\0"))).kind == "kernel"


@pytest.mark.parametrize("base", [0x500, 0x1000, 0x7C00])
def test_a_shifted_dump_is_recognised_by_the_kernel_in_it(tmp_path: Path, ram: bytes, base: int) -> None:
    data = bytearray(ram)
    data[IMAGE + 4] = 0xEB
    data[0x7DFE:0x7E00] = b"\x55\xaa"
    target = open_path(made(tmp_path, bytes(data[base:])))
    assert (target.kind, target.memory.read(IMAGE, 4, "magic")) == ("dump", ram[IMAGE : IMAGE + 4])
    assert f"begins at 0x{base:x}" in target.notes[0]


def test_where_a_dump_begins_may_be_said(tmp_path: Path, ram: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path = made(tmp_path, ram[0x12340:])
    assert main(["jit", str(path), "--base", "0x12340"]) == 0
    assert "alpha" in capsys.readouterr().out
    assert main(["status", str(path)]) == 2
    assert "--base ADDRESS" in capsys.readouterr().err
    packed = made(tmp_path, gzip.compress(ram), "packed")
    assert main(["swaps", "--base", "0", str(packed)]) == 0
    assert "alpha" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tcp:localhost:1", "--base", "0"], "--base is for a raw dump"),
        (["--base", "0"], "--base is for a raw dump"),
        ([".", "--base", "0"], "is a directory; --base is for a file"),
        (["CORE", "--base", "0"], "says its own addresses; leave --base out"),
        (["gone", "--base", "0"], "does not exist"),
    ],
)
def test_a_base_that_fits_nothing_is_refused(
    tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    core = made(tmp_path, core_bytes())
    assert main(["status", *(str(core) if word == "CORE" else word for word in words)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_truncated_core_is_asked_and_what_is_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path, core_bytes()[:-0x1001])
    assert main(["identify", "0x10000", str(path)]) == 0
    assert "is truncated" in capsys.readouterr().err
    assert main(["cpu", str(path)]) in (0, 1)
    assert "0x00010123" in capsys.readouterr().out


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    with listener:
        odd = ((tmp_path / "pipe", "a pipe"), (tmp_path / "s", "a socket"), (Path("/dev/zero"), "a device"))
        for path, what in odd:
            for read in (open_path, read_serial_file, lambda path: open_path(path, 0)):
                with pytest.raises(UsageError, match=f"is {what}"):
                    read(path)
    with pytest.raises(UsageError, match="is not a trace"):
        open_path(tmp_path)


def test_a_file_that_may_not_be_read_says_why(tmp_path: Path) -> None:
    path = made(tmp_path, b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("nothing is forbidden to root")
    with pytest.raises(BareflowError, match="Permission denied"):
        open_path(path)


@pytest.mark.parametrize("size", [1, 3, 511, 513, 0x601, 0x6BF, 0x10001, 0x20123])
def test_a_dump_of_an_odd_size_is_no_defect(
    tmp_path: Path, ram: bytes, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path, ram[:size])
    assert main(["status", "--base", "0", str(path)]) in (0, 1)
    assert "a defect" not in capsys.readouterr().err


def test_a_sparse_dump_and_an_empty_file(tmp_path: Path, ram: bytes) -> None:
    path = made(tmp_path, ram)
    os.truncate(path, 1 << 30)
    assert open_path(path).memory.read(RAM_BYTES * 8, 16, "a hole") == bytes(16)
    with pytest.raises(BadData, match="is empty"):
        open_path(made(tmp_path, b""))
    with pytest.raises(BadData, match="is empty"):
        open_path(made(tmp_path, gzip.compress(b"")))


LOG = "boot manager\r\nhello from the guest ü\r\n"


@pytest.mark.parametrize(
    ("data", "ends"),
    [
        (LOG.encode("utf-16"), "guest ?\n"),
        (LOG.encode("utf-16-be"), "guest ?\n"),
        (LOG.encode("utf-16-le"), "guest ?\n"),
        (b"no mark of ours\r\n" * 9000, "mark of ours\n"),
        (b"BZh is how it begins\n", "how it begins\n"),
        (gzip.compress(b"packed\n", mtime=0), "packed\n"),
        (b"\0" * 2000 + b"after zeros\n", "after zeros\n"),
    ],
)
def test_serial_takes_the_user_at_their_word(
    tmp_path: Path, data: bytes, ends: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path, data)
    assert main(["serial", str(path)]) == 0
    assert capsys.readouterr().out.rstrip("\n").endswith(ends.rstrip("\n"))


def test_the_end_of_a_log_in_utf_16_begins_at_a_character(tmp_path: Path) -> None:
    path = made(tmp_path, ("first\n" + "second\n").encode("utf-16"))
    assert read_serial_file(path, 17).text == "second\n"


def test_fat_takes_the_user_at_their_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fat", "list", str(made(tmp_path, bytes(4096)))]) == 2
    assert "is not recognised" not in capsys.readouterr().err


def test_the_words_of_a_kernel_do_not_make_its_memory_a_log(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--base ADDRESS"):
        open_path(made(tmp_path, bytes(9000) + b"[serial] init ok\r\n" + bytes(9000)))
