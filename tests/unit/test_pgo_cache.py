"""A cache of optimised modules, and a disk with them, are there whole and of these sources, or as they were."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from guest_code import MIXED, bitcode, tier

from bareflow_gdb.build.fat_image import DiskFile, Geometry, fat16_image
from bareflow_gdb.build.module import link_module, read_module
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import BareflowError, CannotWrite, UsageError
from bareflow_gdb.guest.machine.disk import read_content
from bareflow_gdb.pgo import cache, disk, plan
from bareflow_gdb.pgo.compiling import Compiler
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.plan import Choice, Plan, Thresholds

OTHER = "int other_main(int a, int b) { return a * 3 + b; }"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make firmware` would leave of two modules."""
    folder = tmp_path_factory.mktemp("firmware")
    modules = folder / "modules"
    modules.mkdir()
    for name, source in (("mixed", MIXED), ("other", OTHER)):
        payload = bitcode(modules, source, name=name)
        (modules / f"{name}.O0.mod").write_bytes(link_module(tier(modules, payload, 0), name, f"{name}_main", 0))
    (modules / "embedded.S").write_text("name_mixed:\n    .asciz\nname_other:\n")
    filled(Compiler(Firmware(folder)), folder / "cache", 2, 2)
    return folder


@pytest.fixture
def compiler(built: Path, tmp_path: Path) -> Compiler:
    shutil.copytree(built, tmp_path / "firmware")
    return Compiler(Firmware(tmp_path / "firmware"))


def planned(compiler: Compiler, *levels: int) -> Plan:
    choices = [
        Choice(name, plan.HOT, level, (), 1, 1, "", compiler.firmware.digest(name))
        for name, level in zip(compiler.firmware.names(), levels, strict=True)
    ]
    return Plan("cycles", "x", Thresholds(), tuple(choices))


def filled(compiler: Compiler, directory: Path, *levels: int) -> Path:
    made = planned(compiler, *levels)
    cache.write(directory, made, {one.name: compiler.image(one) for one in made.choices}, compiler)
    return directory


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_cache_holds_what_was_planned_and_is_read_again(compiler: Compiler, tmp_path: Path) -> None:
    directory = filled(compiler, tmp_path / "cache/i686/x", 3, 1)
    assert sorted(path.name for path in directory.iterdir()) == ["mixed.mod", "other.mod", "pgo.json"]
    images = cache.read(directory, compiler)
    assert {name: read_module(image).name for name, image in images.items()} == {"mixed": "mixed", "other": "other"}
    before = images["mixed"]
    filled(compiler, directory, 0, 1)
    assert cache.read(directory, compiler)["mixed"] != before, "another plan, another image"
    assert [path.name for path in directory.parent.iterdir()] == ["x"], "nothing half-written is left beside it"


def _change_source(compiler: Compiler, _: Path) -> None:
    shutil.copy(compiler.firmware.bitcode("other"), compiler.firmware.bitcode("mixed"))


def _change_image(_: Compiler, directory: Path) -> None:
    shutil.copy(directory.parent.parent / "firmware/modules/mixed.O0.mod", directory / "mixed.mod")


def _set(word: str, value: object) -> Callable[[Compiler, Path], None]:
    def change(_: Compiler, directory: Path) -> None:
        record = json.loads((directory / "pgo.json").read_text())
        (directory / "pgo.json").write_text(json.dumps({**record, word: value}))

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_change_source, "of other sources"),
        (_change_image, "is not the image that was written"),
        (_set("compiler", "clang 3"), "another compiler"),
        (_set("cpu", "core2"), "another CPU"),
        (_set("cache_version", 9), "not of version 1"),
        (lambda _, directory: (directory / "pgo.json").unlink(), "has no pgo.json"),
        (lambda _, directory: (directory / "pgo.json").write_text("{"), "is damaged"),
        (lambda _, directory: (directory / "other.mod").unlink(), "differ in other"),
        (lambda _, directory: (directory / "other.mod").write_bytes(b"x" * 99), "SHA-256"),
        (lambda _, directory: shutil.rmtree(directory), "not a directory"),
    ],
)
def test_a_stale_or_damaged_cache_is_refused_with_one_sentence(
    compiler: Compiler, tmp_path: Path, change: Callable[[Compiler, Path], None], why: str
) -> None:
    directory = tmp_path / "cache/x"
    shutil.copytree(compiler.firmware.folder / "cache", directory)
    change(compiler, directory)
    with pytest.raises(BareflowError, match=why):
        cache.read(directory, compiler)


def test_a_plan_of_other_sources_or_of_a_module_that_is_not_there_is_refused(compiler: Compiler) -> None:
    choice = planned(compiler, 2, 2).choices[0]
    for wrong, why in (
        (replace(choice, bitcode="00" * 32), "was changed since it was measured"),
        (replace(choice, name="nowhere", bitcode=""), "no bitcode of module nowhere"),
    ):
        with pytest.raises(UsageError, match=why):
            compiler.image(wrong)


def test_apply_that_fails_at_any_step_leaves_the_cache_as_it_was(
    compiler: Compiler, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = filled(compiler, tmp_path / "cache/x", 1, 1)
    before = snapshot(directory.parent)
    made = planned(compiler, 3, 3)
    image, file = compiler.firmware.folder / "fluid.img", tmp_path / "plan.json"
    words = ["pgo", "apply", str(file), "--image", str(image), "--cache", str(directory)]

    def refused(why: str) -> None:
        assert cli.main(words) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert why in said
        assert snapshot(directory.parent) == before

    file.write_text('{"plan_version": 1, "mod')
    refused("is no plan")
    made.with_choices((*made.choices, replace(made.choices[0], name="gone"))).write(file)
    refused("no bitcode of module gone")
    made.with_choices(replace(one, bitcode="") for one in made.choices).write(file)
    compiler.firmware.bitcode("other").write_bytes(b"BC\xc0\xde damaged")
    refused("clang refuses")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused("clang is not installed")
    monkeypatch.undo()
    shutil.copy(compiler.firmware.folder / "modules/mixed.bc", compiler.firmware.bitcode("other"))
    made.with_choices(made.choices[:1]).write(file)
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["bytes"] == {"mixed": len(cache.read(directory, compiler)["mixed"])}


def test_a_file_system_without_room_leaves_cache_and_disk_as_they_were(compiler: Compiler, tmp_path: Path) -> None:
    directory, path = filled(compiler, tmp_path / "cache/x", 1, 1), tmp_path / "disk.img"
    images = cache.read(directory, compiler)
    disk.sync(path, images)
    before = snapshot(directory.parent), path.read_bytes()
    made = planned(compiler, 3, 3)
    larger = {one.name: compiler.image(one) for one in made.choices}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(CannotWrite, match=r"File too large"):
            cache.write(directory, made, larger, compiler)
        with pytest.raises(CannotWrite, match=r"File too large"):
            disk.sync(path, larger)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (snapshot(directory.parent), path.read_bytes()) == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cache", "disk.img", "firmware"]


def test_an_exchange_that_fails_gives_the_old_cache_back(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = filled(compiler, tmp_path / "cache/x", 1, 1)
    before, rename = snapshot(directory.parent), Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".new." in self.name:
            raise OSError(errno.EIO, "")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(CannotWrite, match="Input/output error"):
        filled(compiler, directory, 3, 3)
    assert snapshot(directory.parent) == before


def test_a_cache_is_not_put_where_other_things_are(compiler: Compiler, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    with pytest.raises(UsageError, match=r"holds letter\.txt"):
        filled(compiler, tmp_path / "home", 1, 1)
    assert snapshot(tmp_path / "home") == {"letter.txt": b"dear"}


def test_images_go_onto_a_disk_and_the_other_files_stay(compiler: Compiler, tmp_path: Path) -> None:
    images = cache.read(filled(compiler, tmp_path / "cache/x", 3, 2), compiler)
    path = tmp_path / "disk.img"
    path.write_bytes(fat16_image([DiskFile("MIXED.MOD", b"old"), DiskFile("NOTES.TXT", b"kept")]))
    assert disk.sync(path, images) == ("MIXED.MOD", "OTHER.MOD")
    assert read_content(path, "NOTES.TXT")[1] == b"kept"
    assert read_content(path, "MIXED.MOD")[1] == images["mixed"]


def test_a_full_disk_becomes_larger(compiler: Compiler, tmp_path: Path) -> None:
    images = cache.read(filled(compiler, tmp_path / "cache/x", 3, 2), compiler)
    path = tmp_path / "disk.img"
    big = bytes(Geometry().clusters * Geometry().cluster_bytes)
    path.write_bytes(fat16_image([DiskFile("BIG.BIN", big)]))
    assert disk.sync(path, images) == ("MIXED.MOD", "OTHER.MOD")
    assert read_content(path, "BIG.BIN")[1] == big
    assert path.stat().st_size > Geometry().sectors * 512


def test_a_foreign_or_damaged_disk_is_refused_and_stays(compiler: Compiler, tmp_path: Path) -> None:
    images = cache.read(filled(compiler, tmp_path / "cache/x", 3, 2), compiler)
    path = tmp_path / "disk.img"
    foreign = fat16_image([]).replace(b"BAREFLOW   ", b"HOLIDAYS   ")
    damaged = bytearray(fat16_image([DiskFile("NOTES.TXT", b"kept" * 1000)]))
    damaged[512 : 512 + 64 * 512] = bytes(64 * 512)
    for content, why in (
        (foreign, "not a disk of this"),
        (bytes(damaged), "damaged"),
        (b"no disk", "FAT16|boot sector|bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(BareflowError, match=why):
            disk.sync(path, images)
        assert path.read_bytes() == content
        assert [each.name for each in tmp_path.glob("*disk*")] == ["disk.img"]
