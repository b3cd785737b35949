"""Is the module disk a FAT16 volume, by the judgement of dosfstools and mtools, and are wrong names refused?"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from guest_code import compile_c
from hypothesis import given, settings
from hypothesis import strategies as st

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import fat_image
from bareflow_gdb.build.fat_image import DiskFile, disk_name, fat16_image
from bareflow_gdb.build.module import link_module
from bareflow_gdb.errors import UsageError
from bareflow_gdb.recompile import machine_code

SIZES = (0, 1, 511, 512, 513, 2047, 2048, 2049, 4096, 100_000)


def save(tmp_path: Path, files: dict[str, bytes]) -> Path:
    image = tmp_path / "disk.img"
    image.write_bytes(fat16_image([DiskFile(name, content) for name, content in files.items()]))
    return image


def run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def files() -> dict[str, bytes]:
    return {f"FILE{n}.MOD": bytes([n + 1]) * size for n, size in enumerate(SIZES)}


def test_dosfstools_find_nothing_wrong(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert f"{len(files) + 1} files" in run("/usr/sbin/fsck.fat", "-n", save(tmp_path, files))


def test_mtools_read_every_file_back(tmp_path: Path, files: dict[str, bytes]) -> None:
    image = save(tmp_path, files)
    for name, content in files.items():
        run("mcopy", "-n", "-i", image, f"::{name}", tmp_path / name)
        assert (tmp_path / name).read_bytes() == content


def test_mtools_list_as_many_files_as_were_given(tmp_path: Path, files: dict[str, bytes]) -> None:
    image = save(tmp_path, {f"MORE{n}.O1": b"x" * n for n in range(200)} | files)
    assert len(run("mdir", "-b", "-i", image).splitlines()) == 200 + len(files)


def test_the_volume_has_16_mb_and_fat16(tmp_path: Path, files: dict[str, bytes]) -> None:
    image = save(tmp_path, files)
    assert image.stat().st_size == 16 << 20
    said = run("minfo", "-i", image)
    assert 'disk type="FAT16   "' in said
    assert "sector size: 512 bytes" in said


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        (folder / "primes.O0.mod").write_bytes(b"module")
        assert fat_image.main(["--output", str(folder / "img"), str(folder / "primes.O0.mod")]) == 0
    assert (first / "img").read_bytes() == (second / "img").read_bytes()


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("primes.O0.mod", "PRIMES.MOD"),
        ("physics_step.O2.mod", "PHYSICS_.O2"),
        ("fibonacci.bc.wrapped", "FIBONACC.BC"),
        ("fibonacci.mod", "FIBONACC.MOD"),
        ("TEST.TXT", "TEST.TXT"),
        ("notes", "NOTES"),
    ],
)
def test_files_are_called_as_the_kernel_looks_for_them(file_name: str, name: str) -> None:
    assert disk_name(file_name) == name


@pytest.mark.parametrize("name", ["a b.txt", ".txt", "x.long", "ä.txt", "CON.*"])
def test_a_name_that_no_fat_disk_takes_is_refused_with_the_next_step(name: str) -> None:
    with pytest.raises(UsageError, match=r"FILE=NAME\.EXT"):
        disk_name(name)


@pytest.mark.parametrize(
    ("file_name", "begins", "words"),
    [
        ("sum.bw", layouts.pack("bitcode_header_t", magic=layouts.const("BITCODE_MAGIC")), r"sum\.bw=SUM\.BC"),
        ("sum.o", layouts.pack("module_header_t", magic=layouts.const("MODULE_MAGIC"), version=1), r"sum\.o=SUM\.MOD"),
        ("sum.bc", b"BC\xc0\xde....", "bareflow build wrap"),
    ],
    ids=["wrapped bitcode", "module", "bitcode"],
)
def test_what_the_kernel_would_not_find_is_refused_with_the_name_that_it_looks_for(
    tmp_path: Path, file_name: str, begins: bytes, words: str
) -> None:
    given = tmp_path / file_name
    given.write_bytes(begins)
    with pytest.raises(UsageError, match=words):
        fat_image.parse_file(str(given))
    assert fat_image.parse_file(f"{given}=NOTES.TXT").content == begins, "who names it knows"


def test_two_files_with_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match=r"two files are called QUICKSOR\.MOD"):
        fat16_image([DiskFile("QUICKSOR.MOD", b"a"), DiskFile("QUICKSOR.MOD", b"b")])


def test_more_than_fits_is_refused() -> None:
    with pytest.raises(UsageError, match="a FAT16 volume holds 2 GB"):
        fat16_image([DiskFile("LARGE.MOD", Long())])
    with pytest.raises(UsageError, match="directory entries"):
        fat16_image([DiskFile(f"F{n}.MOD", b"") for n in range(512)])


class Long(bytes):
    """A file of 2 GB, as far as its length is asked for."""

    def __len__(self) -> int:
        return 1 << 31


def test_the_last_cluster_can_be_used(tmp_path: Path) -> None:
    usual = fat_image.Geometry()
    content = bytes(usual.clusters * usual.cluster_bytes)
    image = save(tmp_path, {"ALL.MOD": content})
    assert f"{usual.clusters}/{usual.clusters} clusters" in run("/usr/sbin/fsck.fat", "-n", image)


def test_a_larger_volume_is_made_for_what_does_not_fit_into_16_mb(tmp_path: Path) -> None:
    large, given = tmp_path / "smollm2.bfm", tmp_path / "primes.O0.mod"
    with large.open("wb") as file:
        file.truncate(150 << 20)
        file.write(b"begins")
    given.write_bytes(b"module")
    image = tmp_path / "disk.img"
    assert fat_image.main(["--output", str(image), str(given), str(large)]) == 0
    clusters = (150 << 20) // 4096 + 1
    said = run("/usr/sbin/fsck.fat", "-n", image)
    assert f"{clusters}/{clusters} clusters" in said and "3 files" in said
    assert "157 286 406 bytes" in run("mdir", "-i", image)


def test_an_error_is_a_sentence_and_leaves_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "disk.img"
    assert fat_image.main(["--output", str(output), str(tmp_path / "missing.mod")]) == 1
    assert "missing.mod" in capsys.readouterr().err
    assert not output.exists()


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_any_text_is_a_good_name_or_a_refusal(text: str) -> None:
    try:
        name = disk_name(text)
    except UsageError:
        return
    stem, _, extension = name.partition(".")
    assert name == name.upper() and 0 < len(stem) <= 8 and len(extension) <= 3


def test_a_module_of_another_tool_that_the_guest_cannot_execute_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "int f(int a, int b) { double s = a; return (int)(s / b); }"
    compiled = compile_c(tmp_path, source, "-O2", "-march=pentium4", "-msse2", "-mfpmath=sse")
    with monkeypatch.context() as another_tool:
        another_tool.setattr(machine_code, "check", lambda *_: None)
        image = link_module(compiled, "f", "f")
    module = tmp_path / "f.O0.mod"
    words = ["--output", str(tmp_path / "img"), str(module)]
    for content, said in ((image, "f.O0.mod: code+0x"), (image[:-1] + b"x", "its SHA-256 does not match")):
        module.write_bytes(content)
        assert fat_image.main(words) == 1
        assert said in capsys.readouterr().err and not (tmp_path / "img").exists()
    module.write_bytes(link_module(compile_c(tmp_path, source, "-O2"), "f", "f"))
    assert fat_image.main(words) == 0
