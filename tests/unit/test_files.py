"""Is a file there whole, or not at all?"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bareflow_gdb.files import replacing, write_atomically


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


def test_what_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as partial:
        partial.write_bytes(b"half")
        assert list(tmp_path.iterdir()) == [partial]
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
