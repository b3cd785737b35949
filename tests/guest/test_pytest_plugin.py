"""The pytest plugin, used by a project with tests of its own kernel: what passes, what a failure shows, what ends."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bareflow_gdb.cli import main as cli
from bareflow_gdb.qemu.machine import Machine

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
RULES = """
[reaches]
"*" = {{ tier = {tier}, by_call = 30 }}
[at_most]
lost_events = 0
exceptions = 0
"""
TESTS = """
import pytest

pytestmark = pytest.mark.bareflow(thresholds=(10, 20, 30), seconds=120)

@pytest.mark.bareflow(hold=1)
def test_a_run(guest, tmp_path):
    trace = guest.record(tmp_path / "trace")
    guest.wait("idle")
    assert guest.function("primes").level == 3
    assert guest.ask("pools", "code").pools[0].used > 0
    assert not guest.findings()
    assert trace.lost == 0 and "RECOMPILE" in guest.serial
    guest.check("kept.toml", trace)
    with pytest.raises(AssertionError, match="primes reaches O2 by call 5: broken, at call 20"):
        guest.check("broken.toml")
    assert guest.function("nonsense")

@pytest.mark.bareflow(colour="red")
def test_with_a_word_that_there_is_not(guest):
    pass
"""


def test_a_project_tests_its_own_kernel(pytester: pytest.Pytester, image: Path) -> None:
    pytester.makeini(f"[pytest]\nbareflow_image = {image}\n")
    pytester.makepyfile(TESTS)
    (pytester.path / "kept.toml").write_text(RULES.format(tier=3))
    (pytester.path / "broken.toml").write_text("[reaches]\nprimes = { tier = 2, by_call = 5 }\n")
    before = {machine.name for machine in Machine.all()}
    # A process of its own finds the plugin by itself, as a user's does.
    result = pytester.runpytest_subprocess("--strict-markers")
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*this marker of a guest has no 'colour'; it takes disk, *",
            "*UsageError: the guest has no function 'nonsense'; it has fibonacci, *",
            "*- status of guest pytest-*",
            "*thresholds *10 / 20 / 30*",
            "*- end of what pytest-* printed -*",
        ]
    )
    assert {machine.name for machine in Machine.all()} == before


def test_the_workflow_of_the_documents_uses_words_that_there_are() -> None:
    lines = [line.strip() for line in (ROOT / "docs" / "github-workflow.yml").read_text().splitlines()]
    asked = [shlex.split(line.removesuffix(" || true")) for line in lines if line.startswith("bareflow ")]
    assert {words[1] for words in asked} == {"run", "trace", "stop", "check", "report"}
    for words in asked:
        assert cli.build_parser(words[1]).parse_args(words[1:]).verb == words[1]
    assert any(line.startswith("run: pytest --bareflow-image ") for line in lines)
