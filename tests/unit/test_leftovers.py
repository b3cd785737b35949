"""A machine's directory that is damaged or planted: it is named and skipped, and only what is ours is ever removed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bareflow_gdb.cli.main import main as bareflow
from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu import leftovers
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.qemu.process import started_at

all_of_them = leftovers.leftovers

DAMAGED: dict[str, Any] = {
    "brace": "{",
    "empty": "",
    "list": "[]",
    "deep": "[" * 100_000,
    "few": {"name": "few"},
    "word": {"pid": "many"},
    "minus": {"pid": -1},
    "zero": {"pid": 0},
    "large": {"pid": 1 << 80},
    "nan": {"memory_mib": float("nan")},
    "number": {"ram": 5},
    "nul": {"ram": "/dev/shm/\0"},
    "object": {"serial": {}},
    "name": {"name": "../up"},
    "escape": {"name": "a\x1b[31m"},
}


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "bareflow").mkdir(mode=0o700)
    # What other sessions of this user left is not this test's to clean.
    monkeypatch.setattr(leftovers, "leftovers", list)
    return tmp_path / "bareflow"


def plant(runtime: Path, folder_name: str, /, **words: Any) -> Path:
    """A directory of a machine that has ended, with what its machine.json says."""
    folder = runtime / folder_name
    folder.mkdir(mode=0o700)
    record: dict[str, Any] = {
        "name": folder_name,
        "pid": 1 << 22,
        "started": "1",
        "created": 1.0,
        "image": "/image",
        "memory_mib": 64,
        "icount": None,
        "gdb_socket": str(folder / "gdb.sock"),
        "qmp_socket": str(folder / "qmp.sock"),
        "ram": str(folder / "ram"),
        "serial": str(folder / "serial.log"),
    }
    (folder / "machine.json").write_text(json.dumps(record | words))
    return folder


def plant_damaged(runtime: Path, name: str) -> Path:
    content = DAMAGED[name]
    folder = plant(runtime, name, **(content if isinstance(content, dict) else {}))
    if isinstance(content, str):
        (folder / "machine.json").write_text(content)
    if name == "few":
        (folder / "machine.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_directory_is_named_and_can_be_removed(
    runtime: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plant_damaged(runtime, name)
    other = plant(runtime, "other")
    assert bareflow(["list"]) == 1
    said = capsys.readouterr()
    assert "other " in said.out and not said.err
    assert name in said.out
    if Machine.damaged():
        assert [each for each, _ in Machine.damaged()] == [name]
        assert f"`bareflow stop {name}` removes it" in said.out
    assert bareflow(["stop", name]) == 0
    assert not folder.exists()
    assert other.exists()
    assert bareflow(["stop", "other"]) == 0


@pytest.mark.parametrize("name", ["a b", "a\x1b[31m", "-x", "$(x)"])
def test_a_directory_that_no_machine_can_be_named_like_is_nobodys(
    runtime: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (runtime / name).mkdir()
    (runtime / name / "machine.json").write_text("{")
    assert bareflow(["list"]) == 1
    assert bareflow(["stop", "--all"]) == 0
    assert capsys.readouterr().out == "no machine is running; `bareflow run` starts one\n"
    assert (runtime / name).exists()


def test_stop_all_removes_what_is_damaged_too(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in DAMAGED:
        plant_damaged(runtime, name)
    plant(runtime, "other")
    assert bareflow(["status", "nobody"]) == 2
    assert "no machine named nobody is running" in capsys.readouterr().err
    assert bareflow(["stop", "--all"]) == 0
    assert list(runtime.iterdir()) == []


def test_a_planted_record_never_makes_us_remove_what_is_not_a_machines(runtime: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (precious / "below").mkdir(parents=True)
    (precious / "gdb.sock").write_text("kept")
    (precious / "file.ram").write_text("kept")
    link = tmp_path / "bareflow-x-12345678.ram"
    link.symlink_to(precious / "file.ram")
    for number, words in enumerate(
        (
            {"ram": str(precious / "file.ram"), "gdb_socket": str(precious / "gdb.sock")},
            {"ram": str(link), "gdb_socket": f"/tmp/bareflow-{os.getuid()}/gdb.sock"},
            {"ram": "../../precious/file.ram", "gdb_socket": "../precious/gdb.sock"},
        )
    ):
        plant(runtime, f"evil{number}", **words)
    assert bareflow(["stop", "--all"]) == 0
    assert list(runtime.iterdir()) == []
    assert (precious / "gdb.sock").read_text() == (precious / "file.ram").read_text() == "kept"
    assert (precious / "below").is_dir() and link.is_symlink()


def test_a_planted_record_never_makes_us_end_what_is_not_qemu(runtime: Path) -> None:
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            plant(runtime, "evil", pid=bystander.pid, started=started_at(bystander.pid))
            assert bareflow(["stop", "evil"]) == 0
            assert bystander.poll() is None
        finally:
            bystander.kill()
    assert list(runtime.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_left_alone(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant(runtime, "theirs")
    os.chown(folder, 1234, 1234)
    assert bareflow(["list"]) == 1
    assert "is not a directory of yours; ask its owner to remove it\n" in capsys.readouterr().out
    assert bareflow(["stop", "theirs"]) == 2
    assert (folder / "machine.json").exists()


def test_a_machines_own_sockets_and_their_directory_go(runtime: Path) -> None:
    folder = Path(leftovers.places.tempfile.mkdtemp(prefix="bareflow-", dir="/tmp"))
    for name in ("gdb.sock", "qmp.sock"):
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(folder / name))
    plant(runtime, "long", gdb_socket=str(folder / "gdb.sock"), qmp_socket=str(folder / "qmp.sock"))
    assert bareflow(["stop", "long"]) == 0
    assert not folder.exists()


@pytest.fixture
def in_shared_memory() -> Iterator[Path]:
    path = Path(f"/dev/shm/bareflow-left{os.getpid()}-abcdefgh.ram")
    yield path
    path.unlink(missing_ok=True)


def test_a_ram_file_that_no_process_uses_is_found_and_one_that_is_used_is_not(
    in_shared_memory: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> bool:
        return in_shared_memory in [left.ram for left in all_of_them()]

    in_shared_memory.write_bytes(bytes(1 << 20))
    assert not found(), "its QEMU may be starting"
    monkeypatch.setattr(leftovers.places, "ABANDONED_SECONDS", -1.0)
    assert found()
    with closing(QemuRam(in_shared_memory)):
        assert not found(), "somebody reads it"
    plant(runtime, "stale", ram=str(in_shared_memory))
    assert not found(), "the machine is listed, and keeps its last state"
    (left,) = (left for left in [leftovers.Leftover("x", in_shared_memory)])
    left.remove()
    assert not in_shared_memory.exists()


@pytest.mark.parametrize("kind", ["missing", "empty", "short", "directory", "pipe"])
def test_a_bad_ram_file_does_not_keep_the_others_from_being_listed(
    runtime: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ram = plant(runtime, "bad") / "ram"
    if kind == "directory":
        ram.mkdir()
    elif kind == "pipe":
        os.mkfifo(ram)
    elif kind != "missing":
        ram.write_bytes(b"" if kind == "empty" else b"x")
    plant(runtime, "other")
    assert bareflow(["list"]) == 1
    assert "bad " in (said := capsys.readouterr().out) and "other " in said
    with pytest.raises(BareflowError):
        QemuRam(ram).read(0x600, 4, "boot record")
    if kind in ("directory", "pipe"):
        with pytest.raises(Unreachable, match="is no file"):
            QemuRam(ram, writable=False)
    assert bareflow(["stop", "--all"]) == 0
    assert list(runtime.iterdir()) == []
