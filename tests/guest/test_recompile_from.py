"""Fix and go on: a running guest gets code from source that was just edited, and from passes that somebody chose."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_code import MODULES
from machines import SECONDS, Boot

from bareflow_gdb.cli.main import main as bareflow
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.recipe import Recipe
from bareflow_gdb.recompile.service import Service
from bareflow_gdb.recompile.source import read_source


@pytest.fixture(scope="module")
def memory(idle_machine: Machine) -> Memory:
    return idle_machine.memory()


@pytest.fixture(autouse=True)
def its_own_code_afterwards(idle_machine: Machine, memory: Memory) -> Iterator[None]:
    yield
    with Service(memory, idle_machine.directory, verify=False) as service:
        for name in ("compute", "primes"):
            assert service.request(name, 3, SECONDS).correct


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """compute.c with another modulus."""
    source = (MODULES / "compute.c").read_text()
    assert source.count("#define MODULUS 1000") == 1
    path = tmp_path / "compute.c"
    path.write_text(source.replace("MODULUS 1000", "MODULUS 999"))
    return path


def test_edited_source_is_compiled_and_installed_and_its_difference_told(
    idle_machine: Machine, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bareflow(["recompile", "compute", "--from", str(edited), "--json", idle_machine.name]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["result"] == sum(i * j % 999 for i in range(100) for j in range(100))
    assert answer["verification"]["state"] == "differs"
    assert "the published code 4488500" in answer["verification"]["reason"]


def test_source_that_breaks_its_caller_is_refused_all_the_same(
    idle_machine: Machine, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited.write_text('int compute_main(int a, int b) { __asm__ volatile("std"); return a + b; }')
    assert bareflow(["recompile", "compute", "--from", str(edited), idle_machine.name]) == 1
    assert "returns with the direction flag set" in capsys.readouterr().err


def test_what_clang_says_is_shown_and_nothing_is_asked_of_the_guest(
    idle_machine: Machine, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited.write_text("int compute_main(int a, int b) { return a + c; }")
    assert bareflow(["recompile", "compute", "--from", str(edited), idle_machine.name]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "compute.c:1:45: error:" in lines[0]
    assert lines[-1].startswith("bareflow recompile: clang refuses ")


def test_a_function_of_another_name_is_its_entry_when_that_is_said(
    idle_machine: Machine, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited.write_text("int better(int a, int b) { return 7 * a + b; }")
    words = ["recompile", "compute", "--from", str(edited), idle_machine.name]
    assert bareflow(words) == 1
    assert "no function compute_main, only better" in capsys.readouterr().err
    assert bareflow([*words, "--entry", "better"]) == 1
    assert "first call  800 (expected 4,488,500)" in capsys.readouterr().out


def test_a_function_without_bitcode_takes_what_the_host_brings(
    booted: Boot, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = booted(with_disk=False)
    assert bareflow(["recompile", "primes", machine.name]) == 1
    assert "no bitcode" in capsys.readouterr().err
    source = str(MODULES / "primes.c")
    assert bareflow(["recompile", "primes", "--from", source, machine.name]) == 0
    said = capsys.readouterr().out
    assert "primes@O3 #" in said and "verified    as primes@O0 #" in said


def test_chosen_passes_and_a_chosen_cpu_are_verified_too(
    idle_machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["recompile", "primes", "--json", idle_machine.name]
    sizes = set()
    for more in ([], ["--passes", "sroa,instcombine,simplifycfg"], ["--passes", "default<O1>"], ["--cpu", "i386"]):
        assert bareflow([*words, *more]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["verification"]["state"] == "agrees"
        sizes.add(answer["code_size"])
    assert len(sizes) > 1
    assert bareflow([*words, "--passes", "sora"]) == 2
    assert "did you mean sroa" in capsys.readouterr().err


def test_who_does_not_serve_cannot_choose_and_is_told_so(idle_machine: Machine, memory: Memory, edited: Path) -> None:
    stop = threading.Event()
    with Service(memory, idle_machine.directory) as server:
        thread = threading.Thread(target=lambda: list(server.serve(stop.is_set)))
        thread.start()
        try:
            with Service(memory, idle_machine.directory) as asker:
                for recipe in (Recipe(passes="sroa"), Recipe(source=read_source(edited)[0])):
                    with pytest.raises(BareflowError, match="another process serves this guest"):
                        asker.request("compute", 3, SECONDS, recipe=recipe)
                assert asker.request("compute", 3, SECONDS).correct
        finally:
            stop.set()
            thread.join()


def test_what_was_compiled_before_comes_from_the_cache_and_a_damaged_entry_is_made_anew(
    idle_machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = ["recompile", "primes", idle_machine.name]
    told = []
    for damaged in (False, False, True, False):
        for entry in (tmp_path / "bareflow" / "objects").glob("*") if damaged else ():
            entry.write_bytes(entry.read_bytes()[:-1])
        assert bareflow(words) == 0
        said = capsys.readouterr().out
        assert "verified    as primes@O3 #" in said
        told.append("from the cache" in said)
    assert told == [False, True, False, True]
