"""Which checks are there, and what do they find? The files of this folder; each is imported when it is first needed."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from bareflow_gdb import checks
from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, KERNEL_UP, MEMORY, REGISTERS, ROOT, STOCK, Subject
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.absent import Absent
from bareflow_gdb.guest.base.finding import Finding

_NOT_CHECKS = ("causes", "check", "diagnosis", "registry", "subject")

if TYPE_CHECKING:
    from bareflow_gdb.guest.doctor import Check as Part

_OF_THE_CODE = ("plausible", "cpu_features")
"""These need the root, and do not believe its tables."""
_OF_MEMORY = frozenset([ROOT, KERNEL, KERNEL_UP, MEMORY, STOCK])
"""Whoever needs one of these reads what a swap changes."""
_AGAIN, _MOMENT_SECONDS = 2, 0.02

_MOST = 50
"""Findings of one check."""

STATES = PASSED, FOUND, NOT_ASKED, COULD_NOT = "passed", "found", "not asked", "could not look"


@dataclass(frozen=True)
class Asked:
    """One check, and what became of it."""

    name: str
    looks_at: str
    needs: tuple[str, ...]
    state: str
    """"passed", "found", "not asked" or "could not look"."""
    why: str = ""
    """Why it was not asked or could not look."""


@dataclass(frozen=True)
class Findings:
    """What all checks say, the worst first."""

    checks: tuple[Asked, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Is nothing wrong, as far as was looked?"""
        return not any(finding.bad for finding in self.findings)

    def __str__(self) -> str:
        """In one sentence."""
        bad = [finding for finding in self.findings if finding.bad]
        if not bad:
            return "nothing is wrong, as far as was looked"
        return f"{len(bad)} finding{'s' if len(bad) > 1 else ''}, the first: {bad[0]}"


@cache
def names() -> tuple[str, ...]:
    """The checks by the alphabet."""
    found = (item.name for item in pkgutil.iter_modules(checks.__path__))
    return tuple(sorted(name for name in found if name not in _NOT_CHECKS))


def load(name: str) -> Check:
    """The check of that name; raises UsageError."""
    if name not in names():
        raise UsageError(f"there is no check {name!r}; there are: {', '.join(names())}")
    check: Check = importlib.import_module(f"{checks.__name__}.{name}").CHECK
    assert check.name == name, f"checks/{name}.py is called {check.name!r}"
    return check


def listed(name: str) -> Asked:
    """A check that nobody asked. Raises UsageError."""
    check = load(name)
    return Asked(name, check.looks_at, check.needs, NOT_ASKED)


def run(subject: Subject, wanted: Iterable[str] = (), *, cheap: bool = False) -> Findings:
    """Asks the checks, all of them or the wanted ones; with `cheap` only those that cost no packet. Raises nothing.

    A check that cannot look says why, and the others go on.
    """
    asked: list[Asked] = []
    found: list[Finding] = []
    for name in tuple(wanted) or names():
        check = load(name)
        state, why, findings = _ask(check, subject, cheap)
        asked.append(Asked(name, check.looks_at, check.needs, state, why))
        found += (replace(finding, check=name) for finding in findings)
    order = ("error", "warning", "note")
    return Findings(tuple(asked), tuple(sorted(found, key=lambda finding: order.index(finding.severity))))


def findings(subject: Subject) -> Part:
    """What the checks say, as a line of the doctor's table; over a gdbstub what costs no packet."""
    from bareflow_gdb.guest.doctor import FAILS, WORKS, Check

    found = run(subject, cheap=True)
    return Check("findings", WORKS if found.ok else FAILS, str(found), "" if found.ok else "`checks` shows all of it")


def _ask(check: Check, subject: Subject, cheap: bool) -> tuple[str, str, list[Finding]]:
    if cheap and not check.cheap and subject.reads_cost:
        return NOT_ASKED, "it would cost packets: `checks --all` asks it", []
    if cheap and REGISTERS in check.needs and subject.asking_stops:
        return NOT_ASKED, "it would stop the running guest for a moment: `checks --all` asks it", []
    lacking = next(filter(None, map(subject.lacks, check.needs)), "")
    if lacking:
        return NOT_ASKED, lacking, []
    if ROOT in check.needs and check.name not in _OF_THE_CODE and subject.implausible:
        return NOT_ASKED, "the kernel's tables are implausible", []
    try:
        swaps = subject.swaps_now
        findings = list(islice(check.look(subject), _MOST + 1))
        if findings and subject.live:
            findings = _lasting(check, subject, findings, swaps)
    except Absent as error:
        # The guest has no such part, or not yet: there is nothing to look at.
        return NOT_ASKED, str(error), []
    except BareflowError as error:
        return COULD_NOT, str(error), []
    if len(findings) > _MOST:
        more = Finding(what="and more of this kind", severity=findings[-1].severity, next_step="mend the first ones")
        findings = [*findings[:_MOST], more]
    return FOUND if findings else PASSED, "", findings


def _lasting(check: Check, subject: Subject, findings: list[Finding], swaps: int | None) -> list[Finding]:
    """Those that are found again a moment later: a guest that runs may have been caught between two stores.

    `swaps`: how many it had made before the first look. When it goes on to swap, only what is the same to the last
    number counts: of tables that change while they are read, each look finds other rows torn. Raises BareflowError when
    they change so fast that no second look can be had.
    """
    for _ in range(_AGAIN):
        time.sleep(_MOMENT_SECONDS)
        later = subject.again()
        try:
            found = list(check.look(later))
        except BareflowError:
            if _swaps_on(later, swaps):
                raise  # what it looked at was gone before it was read: the first look, too, may have seen such
            return findings
        known = _exactly if _swaps_on(later, swaps) and _OF_MEMORY.intersection(check.needs) else place
        there = {known(finding) for finding in found}
        findings = [finding for finding in findings if known(finding) in there]
        if not findings:
            break
    return findings


def _swaps_on(later: Subject, before: int | None) -> bool:
    """Has the guest made swaps since then?"""
    return before is not None and (later.swaps_now or 0) > before


def _exactly(finding: Finding) -> tuple[str, str, str]:
    return finding.check, finding.what, finding.evidence


def place(finding: Finding) -> tuple[str, str]:
    """What it is about, by its check, without the numbers, which go on."""
    return finding.check, re.sub(r"\d[\d,]*", "N", finding.what)
