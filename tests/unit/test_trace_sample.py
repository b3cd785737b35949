"""The recorded traces of the repository still open and still answer: readers do not rot unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bareflow_gdb.analysis.digest import tell, verdicts
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.cli import main as cli
from bareflow_gdb.tracing.store import Trace

TRACES = Path(__file__).parent.parent.parent / "traces"
SAMPLE = TRACES / "swaps-10-20-30"
LISTED = sorted(path.parent for path in TRACES.glob("*/manifest.json"))


def test_every_trace_is_named_in_the_readme_and_small() -> None:
    readme = (TRACES / "README.md").read_text()
    assert LISTED
    for directory in LISTED:
        assert f"`{directory.name}`" in readme
        assert sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) < 300_000


@pytest.mark.parametrize("question", ["status", "boot", "modules", "pools", "profile", "jit", "swaps"])
def test_every_question_has_an_answer(question: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([question, "--json", str(SAMPLE)]) == 0
    assert json.loads(capsys.readouterr().out)


def test_the_sample_tells_three_swaps_of_each_function_at_10_20_and_30_calls() -> None:
    trace = Trace.open(SAMPLE)
    digest = tell(of_trace(trace))
    told = [(swap.function, swap.to_level, swap.call) for swap in digest.swaps.swaps]
    names = trace.manifest.functions
    assert names[:4] == ("fibonacci", "sum", "compute", "primes")
    assert told == [(name, level, 10 * level) for name in names for level in (1, 2, 3)]
    assert [verdict.text for verdict in verdicts(digest) if verdict.kind == "bad"] == []
    assert digest.missing == ()


def test_the_code_of_the_tiers_differs_where_the_guest_says_so() -> None:
    trace = Trace.open(SAMPLE)
    digest = tell(of_trace(trace))
    for comparison in digest.comparisons:
        assert comparison.missing == ""
        assert comparison.equal == comparison.swap.same_code
    fibonacci = [code.sha256 for code in trace.codes.values() if code.function == 0]
    assert len(fibonacci) == len(set(fibonacci)) == 4
