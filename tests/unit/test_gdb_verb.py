"""`bareflow gdb`: which gdb it becomes, what it gives it, and which words are gdb's."""

from __future__ import annotations

from pathlib import Path

import pytest

from bareflow_gdb.cli import gdb_program
from bareflow_gdb.cli.main import build_parser, main
from bareflow_gdb.cli.verbs.gdb import connection
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.qemu.default import PACKAGE, default_image


def program(folder: Path, script: str) -> str:
    path = folder / "gdb"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_what_follows_the_dashes_is_for_gdb() -> None:
    parse = build_parser("gdb").parse_args
    options = parse(["gdb", "demo", "--gdb", "x", "--", "-batch", "--", "--json"])
    assert (options.target, options.gdb, options.json) == ("demo", "x", False)
    assert options.passed_on == ["-batch", "--", "--json"]
    assert parse(["gdb", "--", "-batch"]).target is None
    assert parse(["gdb"]).passed_on == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 12.1", "is gdb 12.1, the suite needs 13 or newer; "),
        ("echo 'Fedora Linux 9.2-3'", "is gdb 9.2-3, the suite needs 13 or newer; "),
        ("echo 'no Python here' >&2", "is not a gdb with Python (no Python here); "),
        ("exit 1", "is not a gdb with Python (it prints no version); "),
    ],
)
def test_a_gdb_that_cannot_load_the_suite_is_refused(tmp_path: Path, script: str, why: str) -> None:
    path = program(tmp_path, script)
    with pytest.raises(BareflowError) as raised:
        gdb_program.find_gdb(path)
    assert str(raised.value) == f"{path} {why}{gdb_program.NEXT}"


def test_without_any_gdb_it_says_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(BareflowError, match="no gdb is installed; `pip install gdb-for-pwndbg`"):
        gdb_program.find_gdb(None)
    with pytest.raises(BareflowError, match="/none/gdb is not a program; "):
        gdb_program.find_gdb("/none/gdb")


def test_the_environments_gdb_comes_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("own/bin", "system"):
        (tmp_path / name).mkdir(parents=True)
    system = program(tmp_path / "system", "echo 16.3")
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    monkeypatch.setattr("sys.prefix", str(tmp_path / "own"))
    assert gdb_program.find_gdb(None) == system
    own = program(tmp_path / "own/bin", "echo 18.1")
    assert gdb_program.find_gdb(None) == own
    assert gdb_program.find_gdb(system) == system


def test_a_gdbstub_is_left_to_gdb(tmp_path: Path) -> None:
    assert connection("tcp:localhost:1") == ["-ex", "bf attach tcp:localhost:1"]
    assert connection(f"unix:{tmp_path}/a b") == ["-ex", f"bf attach unix:{tmp_path}/a\\ b"]


def test_what_gdb_cannot_connect_to_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "serial.log"
    log.write_text("[serial] init ok\n")
    with pytest.raises(UsageError, match=r"serial log .* is nothing that gdb connects to; give a machine"):
        connection(str(log))


def test_the_script_is_named_for_programs_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["gdb", "--print-script", "--json"]) == 0
    assert capfd.readouterr().out == f'{{"script": "{PACKAGE}/gdb_ui/load.py"}}\n'


def test_an_image_built_here_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bareflow_gdb.qemu.default.PACKAGE", tmp_path / "suite" / "package")
    monkeypatch.setattr("bareflow_gdb.qemu.default.PACKAGED", tmp_path / "packaged")
    built = Path("build/firmware/fluid.img")
    assert default_image() == built, "named in the error that nothing is there"
    for image in (tmp_path / "packaged/fluid.img", tmp_path / "suite" / built, built):
        image.parent.mkdir(parents=True)
        image.touch()
        assert default_image() == image
