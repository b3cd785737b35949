"""Where machines keep their files: private, found again, never in a place without room."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.guest.boot.boot import stage_number
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu import process
from bareflow_gdb.qemu.command import Wiring, command_line
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.qemu.process import Process, started_at


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_runtime_directory_is_used_and_made_private(runtime: Path) -> None:
    (runtime / "bareflow").mkdir(mode=0o755)
    (runtime / "bareflow").chmod(0o755)
    assert places.root() == runtime / "bareflow"
    assert mode(places.root()) == 0o700


def test_without_a_runtime_directory_there_is_a_private_one_per_user(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    assert places.root() == runtime / f"bareflow-{os.getuid()}"
    assert mode(places.root()) == 0o700


@pytest.mark.parametrize("unusable", ("/proc", "/sys", "/proc/self/status", "/nosuch", "relative", "file", "taken"))
def test_a_runtime_directory_that_cannot_be_used_is_as_good_as_none(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, unusable: str
) -> None:
    monkeypatch.chdir(runtime)
    (runtime / "relative").mkdir()
    (runtime / "file").touch()
    (runtime / "taken").mkdir()
    (runtime / "taken" / "bareflow").touch()
    own = unusable.startswith("/") or unusable == "relative"
    monkeypatch.setenv("XDG_RUNTIME_DIR", unusable if own else str(runtime / unusable))
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    assert places.root() == runtime / f"bareflow-{os.getuid()}"


def test_without_any_place_the_next_step_is_told(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc")
    monkeypatch.setattr("tempfile.tempdir", str(runtime / "file"))
    with pytest.raises(BareflowError, match=r"no place for machines .*; set XDG_RUNTIME_DIR to a directory"):
        places.root()


def test_a_directory_that_someone_else_prepared_is_refused(runtime: Path) -> None:
    (runtime / "bareflow").symlink_to(runtime)
    with pytest.raises(BareflowError, match="is not a directory of yours"):
        places.root()


def test_names_count_up_and_are_claimed_once() -> None:
    assert [places.claim(None).name, places.claim("mine").name, places.claim(None).name] == ["vm1", "mine", "vm2"]
    with pytest.raises(UsageError, match="a machine named mine already"):
        places.claim("mine")


def test_the_name_of_a_launch_that_was_killed_half_way_can_be_used_again() -> None:
    folder = places.claim("half")
    with pytest.raises(UsageError):
        places.claim("half")
    os.utime(folder, (0, 0))
    assert places.claim("half") == folder
    (folder / "machine.json").write_text("{}")
    os.utime(folder, (0, 0))
    with pytest.raises(UsageError):
        places.claim("half")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-x", "a" * 41, "a b", "a\n"])
def test_a_name_that_could_leave_the_directory_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a machine"):
        places.check_name(name)


def test_a_ram_file_is_sparse_and_private(runtime: Path) -> None:
    path = places.make_ram_file(runtime, "test", 64 << 20)
    assert path.stat().st_size == 64 << 20
    assert path.stat().st_blocks == 0
    assert mode(path) == 0o600
    path.unlink()


def test_without_room_for_the_ram_there_is_a_sentence(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_room", lambda _: 64 << 20)
    with pytest.raises(BareflowError, match=r"no room for 64 MiB of guest RAM in .*; free some or use less memory"):
        places.make_ram_file(runtime, "test", 64 << 20)


def test_the_ram_goes_where_there_is_room(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = {runtime: 1 << 30}
    monkeypatch.setattr(places, "_room", lambda folder: rooms.get(folder, 0))
    assert places.make_ram_file(runtime, "test", 64 << 20) == runtime / "ram"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
def test_a_damaged_record_names_what_to_remove(runtime: Path, text: str) -> None:
    (runtime / "machine.json").write_text(text)
    with pytest.raises(BadData, match=r"is damaged .*; remove "):
        Machine.load(runtime)


@pytest.mark.usefixtures("runtime")
def test_who_names_a_machine_with_a_damaged_record_is_told_so() -> None:
    folder = places.claim("broken")
    (folder / "machine.json").write_text("{")
    with pytest.raises(BareflowError, match=r"machine\.json is damaged .*; `bareflow stop broken` does that"):
        Machine.find("broken")


def test_a_directory_without_a_record_is_a_machine_that_still_starts(runtime: Path) -> None:
    assert Machine.load(runtime) is None


def test_a_process_is_held_by_its_start_time() -> None:
    here = os.getpid()
    assert Process(here, started_at(here)).alive()
    assert not Process(here, "1").alive()
    child = os.fork()
    if child == 0:
        os._exit(0)
    held = Process(child)
    assert held.wait(60)
    assert not held.alive()
    assert started_at(child) is None
    os.waitpid(child, 0)


def test_what_holds_a_process_closes_it_and_needs_no_python_for_it() -> None:
    """Ctrl-C inside a `__del__` is a traceback that nobody can catch."""
    held = Process(os.getpid())
    assert held._handle is not None
    handle = held._handle.fileno()
    assert held.alive() and not held.wait(0.01)
    del held
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)
    suite = Path(process.__file__).parents[1]
    assert [path for path in suite.rglob("*.py") if "def __del__" in path.read_text(encoding="utf-8")] == []


def test_stages_are_given_by_number_word_or_constant() -> None:
    assert stage_number("idle") == stage_number("BF_STAGE_IDLE") == stage_number(14) == 14
    with pytest.raises(UsageError, match=r"no boot stage 'nowhere'; the stages are none, stage1, .*idle, halted"):
        stage_number("nowhere")


def test_a_comma_in_a_path_does_not_become_an_option_of_qemu() -> None:
    path = Path("/tmp/a,b/x")
    words = command_line(Wiring("vm", path, path, 64, path, path, path, disk=path))
    assert sum("/tmp/a,,b/x" in word for word in words) == 6
    assert not any("/tmp/a,b" in word for word in words)
