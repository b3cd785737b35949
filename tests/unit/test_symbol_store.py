"""The symbols of recompiled versions are listed for debuggers, and one process serves a machine at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from guest_code import compile_c
from hostile_names import HOSTILE

from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.code.symbol_index import read_index
from bareflow_gdb.recompile import store
from bareflow_gdb.recompile.link import Linked, Room, link
from bareflow_gdb.recompile.store import SymbolStore


@pytest.fixture
def linked(tmp_path: Path) -> Linked:
    data = compile_c(tmp_path, "int f(int a, int b) { return a + b; }", "-O2")
    made = link(data, "f", Room(0x200010, 4096, 0, 0), {}, {})
    assert isinstance(made, Linked)
    return made


def test_an_index_is_empty_before_the_first_version(tmp_path: Path) -> None:
    assert read_index(tmp_path) == []


def test_each_version_has_a_file_and_an_entry(tmp_path: Path, linked: Linked) -> None:
    symbols = SymbolStore(tmp_path)
    path = symbols.add("f", 7, 3, 0x200010, 0, linked)
    symbols.add("f", 8, 2, 0x200010, 0, linked)
    assert path.name == "v7.elf"
    assert path.read_bytes()[:4] == b"\x7fELF"
    first, second = read_index(tmp_path)
    assert (first.function, first.version, first.level, first.text, first.path) == ("f", 7, 3, 0x200010, path)
    assert first.sections == {".text": 0x200010}
    assert second.version == 8


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_the_guest_is_part_of_a_path(
    tmp_path: Path, linked: Linked, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function = name.decode("latin-1")
    machine = tmp_path / "machine"
    machine.mkdir()
    path = SymbolStore(machine).add(function, 7, 3, 0x200010, 0, linked)
    assert path == machine / "jit" / "v7.elf"
    made = {str(item.relative_to(tmp_path)) for item in tmp_path.rglob("*")} - {"code.c", "code.o"}
    assert made == {"machine", "machine/jit", "machine/jit/v7.elf", "machine/jit/index.json"}
    (entry,) = read_index(machine)
    assert entry.path == path and entry.function.isprintable()


def test_a_path_of_a_damaged_index_leads_nowhere_else(tmp_path: Path, linked: Linked) -> None:
    path = SymbolStore(tmp_path).add("f", 7, 3, 0x200010, 0, linked)
    index = tmp_path / "jit" / "index.json"
    index.write_text(index.read_text().replace('"v7.elf"', '"../../etc/passwd"'))
    assert read_index(tmp_path)[0].path == path


def test_old_files_go(tmp_path: Path, linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "KEPT", 3)
    symbols = SymbolStore(tmp_path)
    for version in range(1, 6):
        symbols.add("f", version, 3, 0x200010, 0, linked)
    assert [entry.version for entry in read_index(tmp_path)] == [3, 4, 5]
    assert sorted(path.name for path in (tmp_path / "jit").glob("*.elf")) == [f"v{n}.elf" for n in (3, 4, 5)]


@pytest.mark.parametrize("text", ["{", "7", '[{"function": "f"}]', "[7]", '[{"sections": 7}]'])
def test_a_damaged_index_is_one_sentence(tmp_path: Path, text: str) -> None:
    SymbolStore(tmp_path)
    (tmp_path / "jit" / "index.json").write_text(text)
    with pytest.raises(BadData, match="remove it"):
        read_index(tmp_path)


def test_the_right_to_serve_is_given_once_and_again_after_its_release(tmp_path: Path) -> None:
    lock = SymbolStore(tmp_path).lock()
    assert lock is not None
    assert SymbolStore(tmp_path).lock() is None
    lock.close()
    again = SymbolStore(tmp_path).lock()
    assert again is not None
    again.close()
