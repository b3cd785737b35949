"""FAT16 images: what is on them is read right, and a damaged one is one sentence, never a loop."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bareflow_gdb.build.fat_image import DiskFile, fat16_image
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.guest.machine.disk import read_image
from bareflow_gdb.guest.machine.fat16 import content, read_file, read_volume

LONG = bytes(range(256)) * 40
FILES = [DiskFile("TEST.TXT", b"a line\r\nanother\r\n"), DiskFile("LONG.MOD", LONG), DiskFile("EMPTY", b"")]
FAT, ROOT, CLUSTER = 512, 65 * 512, 2048
WHERE = "fat16.img"


@pytest.fixture(scope="module")
def image() -> bytes:
    return fat16_image(FILES)


def patched(image: bytes, at: int, data: bytes) -> bytes:
    return image[:at] + data + image[at + len(data) :]


def test_files_are_listed_with_their_chains_and_read_back(image: bytes) -> None:
    volume = read_volume(image, WHERE)
    assert (volume.label, volume.problems) == ("BAREFLOW", ())
    assert [(file.name, file.size, file.clusters) for file in volume.files] == [
        ("TEST.TXT", 17, 1),
        ("LONG.MOD", 10240, 5),
        ("EMPTY", 0, 0),
    ]
    assert volume.clusters_free == volume.clusters - 6
    for file in FILES:
        assert read_file(image, WHERE, file.name.lower()) == file.content


def test_mtools_lists_and_reads_the_same(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(image)
    subprocess.run(["mmd", "-i", str(path), "::FOLDER"], check=True)
    (tmp_path / "more.bin").write_bytes(LONG * 3)
    subprocess.run(["mcopy", "-i", str(path), str(tmp_path / "more.bin"), "::MORE.BIN"], check=True)
    subprocess.run(["mdel", "-i", str(path), "::TEST.TXT"], check=True)
    told = subprocess.run(["mdir", "-b", "-i", str(path), "::"], check=True, capture_output=True, text=True)
    names = {line.removeprefix("::/").rstrip("/") for line in told.stdout.split()}
    volume = read_image(path).volume
    assert volume is not None
    assert {file.name for file in volume.files} == names == {"LONG.MOD", "EMPTY", "FOLDER", "MORE.BIN"}
    assert [file.name for file in volume.files if file.directory] == ["FOLDER"]
    assert read_file(path.read_bytes(), WHERE, "MORE.BIN") == LONG * 3


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda image: patched(image, FAT + 2 * 5, struct.pack("<H", 3)), "runs in a circle at cluster 3"),
        (lambda image: patched(image, FAT + 2 * 4, struct.pack("<H", 0xFFF7)), "runs into a bad cluster"),
        (lambda image: patched(image, FAT + 2 * 4, struct.pack("<H", 0xFFF0)), "which does not exist"),
        (lambda image: patched(image, FAT + 2 * 4, b"\0\0"), "leads to cluster 0, which does not exist"),
        (lambda image: patched(image, FAT + 2 * 4, b"\xff\xff"), "its chain has 2 of 5 clusters"),
    ],
)
def test_a_damaged_chain_is_named_and_the_other_files_are_read(
    image: bytes, damage: Callable[[bytes], bytes], words: str
) -> None:
    damaged = damage(image)
    volume = read_volume(damaged, WHERE)
    assert any(problem.startswith("LONG.MOD: ") and words in problem for problem in volume.problems)
    assert any("copies of the FAT differ" in problem for problem in volume.problems)
    with pytest.raises(BadData, match=r"LONG[.]MOD on fat16[.]img cannot be read"):
        read_file(damaged, WHERE, "LONG.MOD")
    assert read_file(damaged, WHERE, "TEST.TXT") == FILES[0].content


def test_two_files_on_one_cluster_are_told(image: bytes) -> None:
    volume = read_volume(patched(image, ROOT + 3 * 32 + 26, struct.pack("<HI", 2, 10)), WHERE)
    assert "EMPTY: cluster 2 belongs to TEST.TXT too" in volume.problems


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda image: image[:0], "no boot sector signature"),
        (lambda image: patched(image, 510, b"\0\0"), "no boot sector signature"),
        (lambda image: patched(image, 11, b"\0\x08"), "2048 bytes per sector"),
        (lambda image: patched(image, 13, b"\x03"), "not a power of two"),
        (lambda image: patched(image, 17, b"\0\0"), "no FAT or no root directory"),
        (lambda image: patched(image, 19, b"\x10\0"), "fewer than its own tables"),
        (lambda image: patched(image, 19, b"\0\x10"), "clusters: FAT16 has"),
        (lambda image: patched(image, 22, b"\x01\0"), "FAT is too small"),
    ],
)
def test_what_is_no_fat16_volume_is_one_sentence(image: bytes, damage: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(BadData, match=words):
        read_volume(damage(image), WHERE)


def test_an_image_that_was_cut_off_is_told(image: bytes) -> None:
    cut = image[: 99 * 512 + CLUSTER]
    assert any("the image has" in problem for problem in read_volume(cut, WHERE).problems)
    with pytest.raises(BadData, match="is cut off"):
        read_file(cut, WHERE, "LONG.MOD")


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    changes=st.lists(
        st.tuples(
            st.one_of(st.integers(0, 63), st.integers(FAT, FAT + 16), st.integers(ROOT, ROOT + 160)),
            st.binary(min_size=1, max_size=8),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_random_bytes_anywhere_end_in_an_answer_or_a_sentence(image: bytes, changes: list[tuple[int, bytes]]) -> None:
    disk = bytearray(image[: 200 * 512])
    for at, data in changes:
        disk[at : at + len(data)] = data
    try:
        for file in read_volume(disk, WHERE).files:
            assert file.name.isprintable()
            content(file.name, read_file(disk, WHERE, file.name))
    except BareflowError as error:
        assert str(error).isprintable()


def test_fat_list_and_cat_on_the_command_line(
    image: bytes, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(image)
    assert cli.main(["fat", "list", str(path)]) == 0
    assert b"LONG.MOD  10,240" in capfdbinary.readouterr().out
    assert cli.main(["fat", "cat", "long.mod", str(path)]) == 0
    assert capfdbinary.readouterr().out == LONG
    assert cli.main(["fat", "cat", "NONE.TXT", str(path)]) == 2
    assert capfdbinary.readouterr().err.count(b"\n") == 1
    with pytest.raises(UsageError, match="`fat list` shows what there is"):
        read_file(image, WHERE, "NONE.TXT")
    path.write_bytes(patched(image, FAT + 2 * 4, b"\xf7\xff"))
    assert cli.main(["fat", "list", "--json", str(path)]) == 1


def test_text_and_bytes_are_told_apart() -> None:
    assert content("a.txt", FILES[0].content).text == "a line\nanother\n"
    assert content("a.mod", LONG).text == ""
