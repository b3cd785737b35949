"""Modules of the real guest are optimised by what they cost in it: counted, compiled, embedded, measured again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bareflow_gdb.cli import main as cli
from bareflow_gdb.pgo import cache, cpu, measure, plan, profile
from bareflow_gdb.pgo.arguments import Constants
from bareflow_gdb.pgo.compiling import Compiler
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.iterate import Workshop
from bareflow_gdb.pgo.plan import Choice
from bareflow_gdb.qemu.machine import Machine

MODULES = ("fibonacci", "compute", "primes", "quicksort")
ROUNDS = ("classes", "O3+counters+constants+unrolled", "O3+counters+unrolled")


@dataclass(frozen=True)
class Made:
    """What one `pgo iterate` left."""

    out: Path
    cache: Path
    record: dict[str, Any]

    def instructions(self, of: str) -> dict[str, int]:
        found: dict[str, int] = self.record["instructions"][of]
        return found


@pytest.fixture(scope="module")
def made(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("pgo")
    out, place = folder / "out", folder / "cache/i686/test"
    words = ["pgo", "iterate", *MODULES, "--image", image, "--arguments", "--rounds", len(ROUNDS), "--turns", 0]
    assert cli.main(list(map(str, [*words, "--out", out, "--cache", place]))) == 0
    return Made(out, place, json.loads((out / "report.json").read_text()))


@pytest.fixture(scope="module")
def machine(image: Path) -> Iterator[Machine]:
    from bareflow_gdb.guest.boot.wait import wait_for_stage
    from bareflow_gdb.qemu.image import RootSettings
    from bareflow_gdb.qemu.launch import launch

    machine = launch(image, name="pgo-test", settings=RootSettings(hold=1))
    wait_for_stage(machine, "registered")
    yield machine
    machine.stop()


def test_two_runs_are_equal_and_no_module_is_slower_than_at_o2(made: Made) -> None:
    assert made.record["equal_runs"] is True
    best, reference = made.instructions("optimised"), made.instructions("O2")
    assert {name for name in best if best[name] > 1.005 * reference[name]} == set()
    assert set(best) == set(MODULES)
    assert made.record["factors"]["O0"] > 3.0
    assert made.record["factors"]["O2"] > 1.1


def test_what_got_slower_is_put_back_and_named(made: Made) -> None:
    rounds = made.record["rounds"]
    assert tuple(one["tried"] for one in rounds) == ROUNDS
    classes = rounds[0]
    slower = {n for n, cost in classes["cost"].items() if cost > 1.005 * made.instructions("O2")[n]}
    assert slower, "O1 is slower than O2 for one of them"
    assert {line.partition(" ")[0] for line in classes["put_back"]} == slower
    assert all(line.endswith("to O2") for line in classes["put_back"])


def test_the_counts_of_blocks_are_those_of_the_calls(made: Made) -> None:
    choices = {row["name"]: row for row in made.record["plan"]["modules"]}
    by_counts = [name for name, row in choices.items() if row["counters"]]
    assert "quicksort" in by_counts
    # Its own test and the run; sort() is called for each part, insertion_sort at most once for each.
    calls = 1 + measure.CALLS
    counted = {one["function"].rpartition(";")[2]: one["counts"] for one in choices["quicksort"]["counters"]}
    assert calls in counted["quicksort_main"]
    assert 5 * calls in counted["quicksort_main"], "five rounds"
    assert max(counted["sort"]) > 128 * 5 * calls


def test_what_is_called_with_the_same_arguments_is_made_for_them(made: Made) -> None:
    choices = {row["name"]: row for row in made.record["plan"]["modules"]}
    assert choices["primes"]["constants"] == {"a": 1000, "b": 0, "share": 1.0}
    by_constants, by_counts = (one["cost"]["primes"] for one in made.record["rounds"][1:])
    assert made.instructions("optimised")["primes"] == by_constants < 0.6 * by_counts
    assert "a = 1,000 and b = 0 in 100% of the calls" in choices["primes"]["reason"]


def test_other_arguments_take_the_way_beside_the_guard(image: Path) -> None:
    firmware = Firmware.of(image)
    with Workshop(firmware) as workshop:
        counted, _ = workshop.count(MODULES, arguments=True)
        # Its own test calls compute ten times, the others once.
        calls = {name: [measure.CALLS + (10 if name == "compute" else 1)] for name in MODULES}
        seen = {name: one.arguments for name, one in counted.items() if one.arguments is not None}
        assert {name: list(one.calls.values()) for name, one in seen.items()} == calls
        others = Constants(3, 5, 0.6)
        choices = [Choice(n, "", 3, counted[n].counters, 0, 0, "", constants=others, unroll=True) for n in MODULES]
        # Raises for a wrong result.
        measured = measure.count(workshop.of_plan(choices)).per_call(MODULES)
    assert measured["primes"] > 10_000, "the guest calls it with 1,000 and 0"


def test_the_page_and_the_cache_hold_what_was_best(made: Made, image: Path) -> None:
    page = (made.out / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "What was gained" in page
    assert "quicksort" in page
    compiler = Compiler(Firmware.of(image))
    assert set(cache.read(made.cache, compiler)) == set(MODULES)


def test_a_kernel_with_the_cache_takes_every_module_and_is_as_fast(
    made: Made, image: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["pgo", "embed", str(made.cache), "--image", str(image), "--out", str(tmp_path / "kernel"), "--json"]
    assert cli.main(words) == 0
    found = json.loads(capfd.readouterr().out)
    best = made.instructions("optimised")
    assert set(found["modules"]) == set(best)
    # module_execute and the adaptive JIT's dispatcher take some instructions of their own.
    assert {name: found["instructions"][name] - best[name] for name in best} == dict.fromkeys(best, 4)
    assert Path(found["image"]).is_file()


def test_a_profile_that_is_booted_counts_instructions_and_names_its_sources(
    made: Made, image: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    taken, planned = tmp_path / "profile.json", tmp_path / "plan.json"
    assert cli.main(["pgo", "profile", "--image", str(image), "--of", "functions", "--out", str(taken)]) == 0
    found = profile.read(taken)
    firmware = Firmware.of(image)
    assert found.unit == profile.INSTRUCTIONS
    assert {cost.name: cost.bitcode for cost in found.costs} == {n: firmware.digest(n) for n in firmware.names()}
    least = {cost.name: cost.least for cost in found.costs if cost.name in MODULES}
    assert least == made.instructions("O0"), "another boot of another kernel with the same modules"
    capfd.readouterr()
    assert cli.main(["pgo", "plan", str(taken), "--cost", "1000000", "--out", str(planned)]) == 0
    assert f"  {measure.CALLS} calls < 100, " in capfd.readouterr().out
    assert {one.name for one in plan.read(planned).choices if one.kind == plan.HOT} >= {"compute", "quicksort"}


def test_com1_and_memory_of_a_running_machine_give_the_same_profile(machine: Machine, tmp_path: Path) -> None:
    found = {}
    for source in ("serial", "memory"):
        out = tmp_path / f"{source}.json"
        assert cli.main(["pgo", "profile", machine.name, "--from", source, "--out", str(out)]) == 0
        found[source] = profile.read(out)
    assert found["serial"].costs == found["memory"].costs
    made = plan.make(found["serial"], plan.Thresholds(calls=10, cost=1 << 60, factor=10))
    assert [one.name for one in made.choices if one.kind == plan.HOT] == ["compute"], "its test calls it ten times"


def test_the_guests_cpu_is_asked_for_what_code_needs(machine: Machine, capfd: pytest.CaptureFixture[str]) -> None:
    has = cpu.guest_features(machine)
    assert {"x87", "cx8", "cmov"} <= has
    lacks = next(name for name, needs in cpu.NEEDS.items() if not set(needs) <= has)
    assert cli.main(["pgo", "cpu", lacks, "--machine", machine.name]) == 2
    missing = [feature for feature in cpu.NEEDS[lacks] if feature not in has]
    assert f"code for {lacks} needs {', '.join(missing)}, which the guest's CPU lacks" in capfd.readouterr().err
    assert cli.main(["pgo", "cpu", "i686", "--machine", machine.name]) == 0


def test_a_kernel_that_cannot_be_built_says_why_and_leaves_nothing(
    made: Made, image: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'none'}:/usr/bin:/bin")
    monkeypatch.setenv("MAKEFLAGS", "LLVM=-none")
    words = ["pgo", "embed", str(made.cache), "--image", str(image), "--out", str(tmp_path / "kernel")]
    assert cli.main(words) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "the kernel was not built: " in said
    assert not (tmp_path / "kernel").exists()
