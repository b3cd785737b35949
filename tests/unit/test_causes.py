"""A cause is told before what may follow from it, and nothing that is wrong is left out."""

from __future__ import annotations

from bareflow_gdb.checks import registry
from bareflow_gdb.checks.causes import MAY_CAUSE, _reach, ranked
from bareflow_gdb.guest.base.finding import NOTE, WARNING, Finding


def test_only_checks_that_exist_and_no_circle() -> None:
    names = set(registry.names())
    assert set(MAY_CAUSE) <= names
    for name, effects in MAY_CAUSE.items():
        assert set(effects) <= names
        assert name not in _reach(name, names)


def test_what_may_follow_is_told_with_its_cause() -> None:
    reset = Finding(check="resets", what="it reboots")
    fault = Finding(check="start", what="triple fault")
    cut = Finding(check="loaded", what="the load is cut off")
    baud = Finding(check="baud", what="another speed", severity=WARNING)
    note = Finding(check="torn_down", what="given up", severity=NOTE)
    first, second = ranked([reset, baud, fault, note, cut])
    assert (first.finding, first.may_follow) == (cut, (reset, fault))
    assert (second.finding, second.may_follow) == (baud, ())


def test_several_steps_are_one_cause() -> None:
    chain = [Finding(check=name, what=name) for name in ("thresholds", "frozen_count", "registers_kept")]
    (cause,) = ranked(chain)
    assert cause.finding.check == "registers_kept"
    assert [finding.check for finding in cause.may_follow] == ["thresholds", "frozen_count"]
