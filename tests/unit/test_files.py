"""Is a file there whole, or not at all?"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bareflow_gdb.errors import CannotWrite, UsageError
from bareflow_gdb.files import filling, is_locked, locked, private_opener, replacing, share, write_atomically


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_text_and_bytes_are_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "µs\n")
    assert path.read_bytes() == "µs\n".encode()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_the_mode_is_the_one_asked_for(tmp_path: Path, mode: int) -> None:
    write_atomically(tmp_path / "file", b"", mode)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["/", ".", "", "..", "folder"])
def test_a_directory_is_not_replaced_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CannotWrite, match="Is a directory; give a file's name in it"):
        write_atomically(Path(name), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as partial:
        partial.write_bytes(b"half")
        assert list(tmp_path.iterdir()) == [partial]
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_place_below_a_file_is_one_sentence_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match=f"cannot write {tmp_path}/file/x: "):
        write_atomically(tmp_path / "file" / "x", "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO])
def test_what_cannot_be_written_is_one_sentence_with_the_name_and_the_next_step(tmp_path: Path, number: int) -> None:
    path = tmp_path / "file"
    with pytest.raises(CannotWrite) as raised, replacing(path):
        raise OSError(number, os.strerror(number))
    sentence = str(raised.value)
    assert sentence.startswith(f"cannot write {path}: {os.strerror(number)}; ") and "\n" not in sentence
    assert raised.value.errno == number
    assert list(tmp_path.iterdir()) == []


def test_files_are_private_whatever_the_umask_until_they_are_shared(tmp_path: Path, umask: int) -> None:
    directory = tmp_path / "above" / "directory"
    with filling(directory):
        write_atomically(directory / "written", b"")
        with open(directory / "opened", "wb", opener=private_opener):
            pass
    assert [mode_of(path) for path in (directory.parent, directory)] == [0o700, 0o700]
    assert [mode_of(path) for path in directory.iterdir()] == [0o600, 0o600]
    share(directory)
    assert mode_of(directory) == 0o777 & ~umask
    assert [mode_of(path) for path in directory.iterdir()] == [0o666 & ~umask] * 2


@pytest.mark.parametrize("there", [False, True])
def test_a_directory_is_filled_or_as_it_was_before(tmp_path: Path, there: bool) -> None:
    directory = tmp_path / "above" / "directory"
    if there:
        directory.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), filling(directory):
        (directory / "folder").mkdir()
        (directory / "folder" / "file").touch()
        (directory / "file").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.rglob("*")) == ([directory.parent, directory] if there else [])


def test_a_directory_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(UsageError, match="not an empty directory"), filling(tmp_path):
        pass
    with pytest.raises(UsageError, match="not an empty directory"), filling(tmp_path / "mine"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_a_killed_program_had_begun_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".manifest.json.1-2.partial").touch()
    with filling(tmp_path):
        (tmp_path / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_is_held_by_one_and_given_back_by_its_death(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, bareflow_gdb.files as files\n"
        "with files.locked(pathlib.Path(sys.argv[1]), ''):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            assert is_locked(tmp_path)
            with pytest.raises(UsageError, match="somebody else"), locked(tmp_path, "somebody else"):
                pass
        finally:
            holder.kill()
    assert not is_locked(tmp_path)
    with locked(tmp_path, "somebody else"):
        assert is_locked(tmp_path)
