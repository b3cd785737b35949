"""What a real guest left in a core of a part, a core that was cut off, a shifted dump, a packed core: it is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from asking import record_of

from bareflow_gdb.cli.main import main
from bareflow_gdb.cli.recognise import open_path
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine


def names_of(guest: Guest) -> set[str]:
    return {function.name for function in record_of(guest, "jit").functions}


@pytest.fixture(scope="module")
def core(idle_machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cores") / "whole.core"
    idle_machine.dump_core(path)
    return path


def test_a_core_of_a_part_of_memory(idle_machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "part.core"
    idle_machine.qmp("dump-guest-memory", paging=False, protocol=f"file:{path}", begin=0x10000, length=0x200000)
    guest = Guest.attach(open_path(path).memory)
    assert "primes" in names_of(guest)
    status = record_of(guest, "status")
    assert any("boot record" in problem for problem in status.problems)
    assert {f.name for f in status.functions} == names_of(guest)
    for words in (["status"], ["jit"], ["swaps"], ["pools"], ["modules"], ["profile"], ["doctor"]):
        assert main([*words, str(path)]) in (0, 1), capsys.readouterr().err


@pytest.mark.parametrize("size", (9_000_000, 1_500_001))
def test_a_core_that_was_cut_off(core: Path, tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.core"
    path.write_bytes(core.read_bytes()[:size])
    for words in (["status"], ["swaps"], ["cpu"], ["jit"]):
        assert main([*words, str(path)]) in (0, 1)
        said = capsys.readouterr()
        assert "is truncated" in said.err
        assert "primes" in said.out or words == ["cpu"]


def test_a_core_in_gzip_answers_as_it_does_unpacked(core: Path, tmp_path: Path) -> None:
    path = tmp_path / "core.gz"
    path.write_bytes(gzip.compress(core.read_bytes(), 1))
    packed, plain = (Guest.attach(open_path(file).memory) for file in (path, core))
    for question in ("status", "jit", "swaps", "pools", "cpu"):
        assert record_of(packed, question) == record_of(plain, question)


@pytest.mark.parametrize("base", (0x600, 0x7C00, 0x10000))
def test_a_dump_that_begins_elsewhere(idle_machine: Machine, tmp_path: Path, base: int) -> None:
    path = tmp_path / "off.dump"
    idle_machine.qmp("pmemsave", val=base, size=8 << 20, filename=str(path))
    for target in (open_path(path), open_path(path, base)):
        guest = Guest.attach(target.memory)
        assert guest.found_by == "image header"
        assert "primes" in names_of(guest)
