"""Does the registry embed a cache directory: every image, its size, its alignment, its name and level?"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from guest_code import MIXED, bitcode, tier

from bareflow_gdb.build import registry
from bareflow_gdb.build.module import link_module
from bareflow_gdb.build.registry import read_cache, source
from bareflow_gdb.errors import UsageError

VISITOR = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("module")
    payload = bitcode(folder, MIXED)
    return [link_module(tier(folder, payload, level), "mixed", "mixed_main") for level in range(4)]


@pytest.fixture
def cache(tmp_path: Path, images: list[bytes]) -> Path:
    folder = tmp_path / "cache/i686/default"
    folder.mkdir(parents=True)
    (folder / "mixed.mod").write_bytes(images[0])
    for level in (2, 3):
        (folder / f"mixed.O{level}.mod").write_bytes(images[level])
    return folder


def compiled(tmp_path: Path, text: str) -> ctypes.CDLL:
    (tmp_path / "registry.c").write_text(text)
    command = ["clang-19", "-Wall", "-Wextra", "-Werror", "-Wmissing-prototypes", "-shared", "-fPIC", "-o"]
    library = tmp_path / "registry.so"
    subprocess.run([*command, str(library), str(tmp_path / "registry.c")], check=True)
    return ctypes.CDLL(str(library))


def visited(library: ctypes.CDLL) -> list[tuple[str, int, bytes]]:
    found = []

    def each(name: bytes, level: int, image: int, size: int) -> None:
        assert image % 16 == 0
        found.append((name.decode(), level, ctypes.string_at(image, size)))

    library.cache_registry_foreach(VISITOR(each))
    return found


def test_every_image_is_visited_with_its_name_and_level(tmp_path: Path, cache: Path, images: list[bytes]) -> None:
    library = compiled(tmp_path, source(read_cache(cache)))
    assert visited(library) == [("mixed", level, images[level]) for level in (0, 2, 3)]


def test_each_image_and_its_size_have_their_names(tmp_path: Path, cache: Path, images: list[bytes]) -> None:
    library = compiled(tmp_path, source(read_cache(cache)))
    for symbol, image in (("cache_module_mixed", images[0]), ("cache_module_mixed_O3", images[3])):
        assert ctypes.c_uint32.in_dll(library, f"{symbol}_size").value == len(image)
        assert bytes((ctypes.c_char * len(image)).in_dll(library, symbol)) == image


def test_an_empty_cache_has_a_registry_without_modules(tmp_path: Path) -> None:
    assert visited(compiled(tmp_path, source(read_cache(tmp_path)))) == []


def test_a_damaged_image_is_refused(cache: Path) -> None:
    image = bytearray((cache / "mixed.mod").read_bytes())
    image[60] ^= 1
    (cache / "mixed.mod").write_bytes(image)
    with pytest.raises(UsageError, match=r"mixed\.mod: .*SHA-256"):
        read_cache(cache)


def test_an_image_under_another_modules_name_is_refused(cache: Path) -> None:
    (cache / "mixed.mod").rename(cache / "sum.mod")
    with pytest.raises(UsageError, match=r"holds module mixed; call it mixed\.mod"):
        read_cache(cache)


def test_a_level_given_twice_is_refused(cache: Path, images: list[bytes]) -> None:
    (cache / "mixed.O0.mod").write_bytes(images[0])
    with pytest.raises(UsageError, match="mixed O0 twice"):
        read_cache(cache)


@pytest.mark.parametrize("name", ["9lives.mod", "mixed.O4.mod", "a-b.mod"])
def test_a_name_that_is_no_modules_is_refused(cache: Path, name: str) -> None:
    (cache / name).write_bytes(b"")
    with pytest.raises(UsageError, match="rename it"):
        read_cache(cache)


def test_the_command_writes_the_file_or_says_why_not(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "made/cache_registry.c"
    assert registry.main(["--cache", str(cache), "--output", str(output)]) == 0
    assert output.read_text() == source(read_cache(cache))
    assert registry.main(["--cache", str(tmp_path / "none"), "--output", str(output)]) == 1
    assert "is not a directory" in capsys.readouterr().err
