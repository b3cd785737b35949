"""`bareflow check`: rules are read strictly, kept ones are green, and what is not known is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.dom import minidom

import pytest
from trace_maker import SWAP, batch, make

from bareflow_gdb.analysis.kept import judge
from bareflow_gdb.analysis.rules import BROKEN, KEPT, NOT_KNOWN, Rules, read_rules
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.values import NOWHERE
from bareflow_gdb.guest.code.swaps import Swap, Swaps
from bareflow_gdb.guest.code.worth import PAID, SLOWER, UNKNOWN, Worth

SAMPLE = str(Path(__file__).parent.parent.parent / "traces" / "swaps-10-20-30")

GOOD = """
[reaches]
primes = { tier = 3, by_call = 30 }
"*" = { tier = 2 }
[at_most]
exceptions = 0
findings = 0
lost_events = 0
[pool_below]
code = 80
"""

Captured = pytest.CaptureFixture[str]


def held(tmp_path: Path, rules: str, *words: str, target: str = SAMPLE) -> int:
    path = tmp_path / "rules.toml"
    path.write_text(rules)
    return cli.main(["check", target, str(path), *words])


def verdicts(capsys: Captured) -> dict[str, str]:
    return {one["rule"]: one["verdict"] for one in json.loads(capsys.readouterr().out)["rules"]}


def test_kept_rules_are_exit_code_0(tmp_path: Path, capsys: Captured) -> None:
    assert held(tmp_path, GOOD) == 0
    said = capsys.readouterr().out
    assert "primes reaches O3 by call 30" in said and said.endswith("all 17 rules are kept\n")
    assert held(tmp_path, GOOD, "--json") == 0
    found = verdicts(capsys)
    assert set(found.values()) == {KEPT} and len(found) == 17


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("[reaches]\nprimes = { tier = 3, by_call = 29 }", "at call 30"),
        ("[pool_below]\ndata = 1", "of 524,288 bytes at its peak"),
    ],
)
def test_a_broken_rule_is_exit_code_1_whatever_else_is_not_known(
    tmp_path: Path, capsys: Captured, rule: str, why: str
) -> None:
    for more in ("", "\n[at_most]\nregretted_swaps = 0"):
        assert held(tmp_path, rule + more) == 1
        said = capsys.readouterr().out
        assert why in said and "1 of " in said and "broken" in said


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("[at_most]\nregretted_swaps = 0", "does not measure what the calls of each version take"),
        ("[reaches]\nprime = { tier = 1 }", "no such function; there are: fibonacci, sum,"),
    ],
)
def test_what_is_not_known_is_exit_code_2_and_not_green(tmp_path: Path, capsys: Captured, rule: str, why: str) -> None:
    assert held(tmp_path, f"{rule}\n") == 2
    said = capsys.readouterr().out
    assert why in said and "not known" in said and "kept" not in said


def test_a_trace_without_memory_is_judged_as_far_as_its_events_tell(tmp_path: Path, capsys: Captured) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)], [batch([(9000, "exception", 6, (0x10000,))], ring=1)])
    assert held(tmp_path, GOOD.replace("primes", "fibonacci"), "--json", target=str(directory)) == 1
    found = verdicts(capsys)
    assert found["exceptions: at most 0"] == BROKEN and found["lost events: at most 0"] == KEPT
    assert found["pool code: below 80 %"] == NOT_KNOWN


def test_junit_tells_failures_and_errors_to_another_reader(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "junit.xml"
    rules = GOOD.replace("by_call = 30", "by_call = 29") + "data = 1\n"
    rules = rules.replace("[at_most]", "[at_most]\nregretted_swaps = 0")
    assert held(tmp_path, rules, "--junit", str(out)) == 1
    capsys.readouterr()
    document = minidom.parse(str(out))
    (suite,) = document.getElementsByTagName("testsuite")
    counts = {name: int(suite.getAttribute(name)) for name in ("tests", "failures", "errors")}
    assert counts == {"tests": 19, "failures": 2, "errors": 1}
    cases = document.getElementsByTagName("testcase")
    failed = [case.getAttribute("name") for case in cases if case.getElementsByTagName("failure")]
    assert failed == ["primes reaches O3 by call 29", "pool data: below 1 %"]


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ("", "it has no rule"),
        ("reaches = 3", "[reaches] is no table"),
        ("[reach]\nprimes = 3", "has 'reach', which is no rule; there are reaches, at_most, pool_below"),
        ("[reaches]\nprimes = 3", "is to be { tier = N, by_call = N }"),
        ("[reaches]\nprimes = {}", "says no tier"),
        ("[reaches]\nprimes = { tier = 4 }", "not a whole number from 0 to 3"),
        ("[reaches]\nprimes = { tier = true }", "not a whole number"),
        ("[reaches]\nprimes = { tier = 3, by_call = 0 }", "of at least 1"),
        ("[reaches]\nprimes = { tier = 3, within = 5 }", "'within', which is no rule"),
        ("[at_most]\nregrets = 0", "'regrets', which is no rule; there are regretted_swaps"),
        ("[at_most]\nexceptions = -1", "of at least 0"),
        ("[at_most]\nexceptions = 0.5", "not a whole number"),
        ("[pool_below]\ncode = 0", "not a percentage"),
        ("[pool_below]\ncode = nan", "not a percentage"),
        ("[pool_below]\nstack = 5", "'stack', which is no rule; there are code, data, metadata"),
        ("[at_most", "holds no rules: "),
        ("a = " + "[" * 5000, "holds no rules: "),
        ("x" * 100_000, "holds no rules: it has more than"),
    ],
)
def test_a_file_that_is_no_rules_is_one_sentence(tmp_path: Path, rules: str, sentence: str, capsys: Captured) -> None:
    assert held(tmp_path, rules) == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.out == "" and said.err.count("\n") == 1


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"cannot be read|holds no rules"):
            read_rules(path)


class Kernel:
    """As much of a kernel as rules about swaps ask."""

    def __init__(self, *swaps: Swap, level: int = 2, calls: int = 500) -> None:
        self._swaps = Swaps(swaps, len(swaps), 0, 0, no_worth="")
        self._function = {"name": "primes", "level": level, "calls": calls}

    def swaps(self, every: bool) -> Swaps:
        assert every
        return self._swaps

    def jit(self) -> Any:
        function = type("Function", (), self._function)
        return type("Jit", (), {"functions": (function,)})


def swap(level: int, call: int | None, worth: Worth | None = None) -> Swap:
    code: dict[str, Any] = {"old_code": NOWHERE, "new_code": NOWHERE, "code_size": 0, "same_code": False}
    told: dict[str, Any] = {"from_level": None, "to_level": level, "reason": "threshold", "call": call, "worth": worth}
    return Swap(function="primes", index=0, **told, **code)


def verdict(kernel: Any, rules: str, tmp_path: Path) -> tuple[str, str]:
    path = tmp_path / "rules.toml"
    path.write_text(rules)
    (one,) = judge(read_rules(path), Subject(lambda: kernel), None)
    return one.verdict, one.why


@pytest.mark.parametrize(
    ("kernel", "rule", "expected"),
    [
        (Kernel(swap(1, 100), swap(3, 400)), "tier = 3, by_call = 400", KEPT),
        (Kernel(swap(1, 100), swap(3, 400)), "tier = 2, by_call = 399", BROKEN),
        (Kernel(swap(1, 100), level=1), "tier = 3, by_call = 501", NOT_KNOWN),
        (Kernel(swap(1, 100), level=1), "tier = 3, by_call = 500", BROKEN),
        (Kernel(swap(1, 100), level=1), "tier = 3", BROKEN),
        (Kernel(swap(3, None)), "tier = 3", KEPT),
        (Kernel(swap(3, None)), "tier = 3, by_call = 500", KEPT),
        (Kernel(swap(3, None)), "tier = 3, by_call = 499", NOT_KNOWN),
        (Kernel(level=3), "tier = 3, by_call = 499", NOT_KNOWN),
    ],
)
def test_a_tier_is_reached_at_a_call_or_has_time_until_then(
    kernel: Kernel, rule: str, expected: str, tmp_path: Path
) -> None:
    assert verdict(kernel, f"[reaches]\nprimes = {{ {rule} }}", tmp_path)[0] == expected


def test_a_slower_version_is_a_regretted_swap(tmp_path: Path) -> None:
    slower, unknown, paid = Worth(SLOWER, saved=-40.0), Worth(UNKNOWN, why="too few"), Worth(PAID, saved=9.0)
    rule = "[at_most]\nregretted_swaps = 0"
    found = verdict(Kernel(swap(1, 1, paid), swap(2, 2, slower)), rule, tmp_path)
    assert found == (BROKEN, "1: primes O2 by 40 cycles")
    assert verdict(Kernel(swap(1, 1, unknown)), rule, tmp_path)[0] == NOT_KNOWN
    assert verdict(Kernel(), rule, tmp_path) == (KEPT, "0")


def test_rules_without_any_guest_are_not_known() -> None:
    def none() -> Any:
        raise UsageError("there is no guest")

    rules = Rules((), {"exceptions": 0, "findings": 0, "lost_events": 0}, {"code": 80.0})
    assert {one.verdict for one in judge(rules, Subject(none), None)} == {NOT_KNOWN}
