"""An object is compiled once for one bitcode, level, recipe, LLVM and set of rules; a damaged entry is made anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bareflow_gdb.recompile import cache
from bareflow_gdb.recompile.cache import ObjectCache, key_of, usual_folder
from bareflow_gdb.recompile.compiler import Compilation
from bareflow_gdb.recompile.recipe import USUAL, Recipe

MADE = Compilation(b"\x7fELF and more", 3, ("remark: f inlined",), ("a note",), {"parse": 1.5})


@pytest.fixture
def objects(tmp_path: Path) -> ObjectCache:
    return ObjectCache(tmp_path / "objects")


def test_what_was_put_is_found_and_says_where_it_is_from(objects: ObjectCache) -> None:
    assert objects.get("a") is None
    objects.put("a", MADE)
    assert objects.get("a") == replace(MADE, cached=True)
    assert objects.get("b") is None


def test_everything_that_decides_the_object_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        key_of(b"1", "f", 3, USUAL),
        key_of(b"2", "f", 3, USUAL),
        key_of(b"1", "g", 3, USUAL),
        key_of(b"1", "f", 2, USUAL),
        key_of(b"1", "f", 3, Recipe(cpu="i386")),
        key_of(b"1", "f", 3, Recipe(passes="sroa")),
    ]
    assert key_of(b"1", "f", 3, USUAL) == keys[0]
    for makers in (("another LLVM", "rules"), ("LLVM", "other rules")):
        monkeypatch.setattr(cache, "_makers", lambda makers=makers: makers)
        keys.append(key_of(b"1", "f", 3, USUAL))
    assert len(set(keys)) == len(keys)


def test_every_rule_of_the_key_is_a_file() -> None:
    cache._makers.cache_clear()
    assert len(cache._makers()[1]) == 64


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "folder", "pipe", "link"])
def test_a_damaged_entry_is_ignored_and_replaced(objects: ObjectCache, tmp_path: Path, damage: str) -> None:
    objects.put("a", MADE)
    path = tmp_path / "objects" / "a"
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        changed = {"flip": whole[:-1] + b"!", "cut": whole[:-1], "longer": whole + b"!", "empty": b""}[damage]
        path.write_bytes(changed)
    assert objects.get("a") is None
    objects.put("a", MADE)
    if damage != "folder":
        assert objects.get("a") is not None


def test_it_is_private_and_bounded_and_the_least_used_go_first(
    objects: ObjectCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "objects"
    monkeypatch.setattr(cache, "MOST_FILES", 3)
    for number, name in enumerate("abc"):
        objects.put(name, MADE)
        os.utime(folder / name, (number, number))
    objects.get("a")
    objects.put("d", MADE)
    assert {path.name for path in folder.iterdir()} == {"a", "c", "d"}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    monkeypatch.setattr(cache, "MOST_BYTES", 2 * (folder / "d").stat().st_size)
    objects.put("e", MADE)
    assert {path.name for path in folder.iterdir()} == {"d", "e"} or "e" in {path.name for path in folder.iterdir()}
    assert len(list(folder.iterdir())) == 2


def test_where_nothing_can_be_kept_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file" / "objects", Path("/proc/nothing")):
        objects = ObjectCache(folder)
        objects.put("a", MADE)
        assert objects.get("a") is None


def test_the_usual_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert usual_folder() == tmp_path / "bareflow" / "objects"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert usual_folder() == tmp_path / ".cache" / "bareflow" / "objects"
