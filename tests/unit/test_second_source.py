"""The profile that a kernel exports on COM1: read from whatever is left of a log, compared with memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bareflow_gdb.analysis.agree import compare
from bareflow_gdb.analysis.second_source import SecondSource, second_sources
from bareflow_gdb.analysis.swaps import logged_swaps
from bareflow_gdb.foreign import console_of
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.exported import exported
from bareflow_gdb.guest.modules.modules import Module, Modules

FIGURES = {"calls": 3, "total_cycles": 300, "min_cycles": 90, "max_cycles": 120, "code_size": 43}


def row(name: str, **changes: Any) -> str:
    told = {"name": name, **FIGURES, "code_address": "0x00201000", "loaded": True, **changes}
    inner = ",\n".join(f'      "{key}": {_json(value)}' for key, value in told.items())
    return f"    {{\n{inner}\n    }}"


def _json(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def document(*rows: str, heading: str = "PROFILING DATA EXPORT", calls: int = 6) -> str:
    head = f'  "timestamp_cycles": 7,\n  "total_calls": {calls},\n  "num_modules": {len(rows)},\n  "modules": [\n'
    return f"\n=== {heading} ===\n--- BEGIN JSON ---\n{{\n{head}" + ",\n".join(rows) + "\n  ]\n}\n--- END JSON ---\n"


def module(name: str, **changes: Any) -> Module:
    made = Module(
        index=0,
        name=name,
        code=Address(0x201000),
        code_size=43,
        loaded=True,
        calls=3,
        total_cycles=300,
        min_cycles=90,
        max_cycles=120,
        mean_cycles=100.0,
        deviation_cycles=None,
        header=None,
        digest="none",
        problems=(),
    )
    return dataclasses.replace(made, **changes)


def modules(*listed: Module, calls: int = 6) -> Modules:
    return Modules(len(listed), 16, calls, listed, ())


def against(log: str, *listed: Module, calls: int = 6) -> SecondSource:
    (found,) = second_sources(log, modules(*listed, calls=calls), None, None)
    return found


def test_every_figure_that_agrees_is_counted() -> None:
    found = against(document(row("sum"), row("primes")), module("sum"), module("primes"))
    assert (found.against, found.agreed, found.later, found.contradictions) == ("modules", 13, 0, ())


@pytest.mark.parametrize("name", [*FIGURES, "code_address"])
def test_one_figure_that_differs_is_named(name: str) -> None:
    wrong = "0x00201004" if name == "code_address" else FIGURES[name] + 1
    found = against(document(row("sum", **{name: wrong}), row("primes")), module("sum"), module("primes"))
    (said,) = found.contradictions
    assert said.startswith(f"sum: {name.replace('_', ' ')} ") and said.endswith(" in memory")


def test_calls_after_the_export_are_no_contradiction_but_what_cannot_be_is() -> None:
    later = module("sum", calls=9, total_cycles=900, min_cycles=80)
    found = against(document(row("sum"), calls=3), later, calls=9)
    assert found.contradictions == () and found.later == 4
    found = against(document(row("sum"), calls=3), dataclasses.replace(later, min_cycles=99), calls=9)
    assert found.contradictions == ("sum: min cycles 90 exported, 99 in memory",)


def test_what_one_of_them_does_not_have_is_named() -> None:
    found = against(document(row("sum"), row("gone")), module("sum"), module("new"))
    assert found.contradictions == ("gone was exported, and is not in memory", "new is in memory, and was not exported")


def test_a_minimum_that_was_never_measured_is_zero() -> None:
    never = {"calls": 0, "total_cycles": 0, "min_cycles": 0, "max_cycles": 0}
    found = against(document(row("sum", **never), calls=0), module("sum", **never | {"min_cycles": None}), calls=0)
    assert found.contradictions == ()


def test_a_log_that_is_cut_off_anywhere_gives_the_rows_that_are_whole() -> None:
    whole = document(row("sum"), row("primes"))
    listed = module("sum"), module("primes")
    for end in range(len(whole) - 1):
        for found in second_sources(whole[:end], modules(*listed), None, None):
            assert found.contradictions == (), (end, found)
            assert found.incomplete
    tail = against(whole[whole.index('"primes"') - 20 :], *listed)
    assert tail.agreed == 6 and tail.contradictions == () and "beginning" in tail.incomplete[0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\r\r\n"),
        lambda raw: raw.replace(b"\n", b"\n\r"),
        lambda raw: raw.replace(b"\n", b"\x1b[0m\n\x1b[32;1m"),
        lambda raw: b"\x1bc\x1b[?7l\x1b[2J" + raw.replace(b":", b"\x1b[K:"),
        lambda raw: b"\x1b[\x001m\x1b]0;title\x07\x1b]8;;http://x\x1b\\\x1bP1$r0m\x1b\\" + raw,
        lambda raw: raw.replace(b":", b"\x1b(B\x1b7:\x1b8\x1b="),
        lambda raw: raw.replace(b"\n", b"\x1b[K\n") + b"\x1b[38;5",
        lambda raw: b"\0\0" + raw.replace(b",", b",\0\0\0"),
    ],
)
def test_what_a_terminal_adds_to_a_log_does_not_hide_it(spoil: Any) -> None:
    plain = document(row("sum")) + "[RECOMPILE] sum: O0 -> O1\n"
    text = console_of(spoil(plain.encode()))
    assert text.rstrip("\n") == plain.rstrip("\n")
    assert [one.rows for one in exported(text)] == [one.rows for one in exported(plain)]


@pytest.mark.parametrize(
    "text", ['{"name": 1}', '{"name": ""}', "{{}}", '{"name": "x", "calls": -1}', "{" * 5000, '{"a": [[[[[', "{}"]
)
def test_rows_that_are_none_are_counted_and_not_believed(text: str) -> None:
    for one in exported(document(text)):
        assert all(made.calls is None or made.calls >= 0 for made in one.rows)


def test_a_hostile_name_is_shown_without_what_it_does() -> None:
    evil = "\\u001b[2J<script>\\u202e"
    (one,) = exported(document(row(evil)))
    assert one.rows[0].name == "?[2J<script>?"


def test_of_two_documents_with_one_heading_the_last_counts() -> None:
    (one,) = exported(document(row("old")) + document(row("new")))
    assert [made.name for made in one.rows] == ["new"]


def test_a_log_of_its_own_may_begin_later_and_end_earlier_but_not_differ_in_between() -> None:
    steps = [f"[RECOMPILE] f: O{n} -> O{n + 1}\n[ATOMIC-SWAP] Code pointer updated to O{n + 1}\n" for n in range(3)]
    seen = logged_swaps("".join(steps)).swaps
    for part in (steps[1:], steps[:2], steps[1:2]):
        found = compare("".join(part), seen, "memory", same_stretch=False)
        assert found.agree and found.agreed == len(part) and len(found.uncovered) == 3 - len(part)
        assert not compare("".join(part), seen).agree
    found = compare(steps[0] + steps[2], seen, "memory", same_stretch=False)
    assert found.disagreements == ("memory has f O1 -> O2 at this place, the log does not",)
