"""What is the cause of what is wrong, and what may follow from it?"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.checks.causes import Cause, ranked
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.boot.watch import Watched
from bareflow_gdb.questions.checks import details
from bareflow_gdb.questions.question import MACHINE, MEMORY, TRACE, Context, Options, Question
from bareflow_gdb.render.view import Cell, View, facts


@dataclass(frozen=True)
class Diagnosis:
    """Every check was asked, also those that cost packets."""

    causes: tuple[Cause, ...]
    """What is wrong, the worst cause first."""
    notes: tuple[Finding, ...]
    """Findings that are worth knowing, where nothing is wrong."""
    passed: tuple[str, ...]
    """The checks that found nothing."""
    not_asked: tuple[str, ...]
    """Those that had nothing to look at here, or could not look."""
    watched: Watched | None
    """How the start went, when the diagnosis started an image."""


def _ask(context: Context, _: Options) -> Diagnosis:
    from bareflow_gdb.checks import registry

    if context.serial_file is None:
        # Nothing else is there to be looked at: why it cannot be read is the answer.
        context.kernel.status()
    found = registry.run(context.subject())
    states = {state: tuple(one.name for one in found.checks if one.state == state) for state in registry.STATES}
    return Diagnosis(
        ranked(found.findings),
        tuple(finding for finding in found.findings if not finding.bad),
        states[registry.PASSED],
        (*states[registry.NOT_ASKED], *states[registry.COULD_NOT]),
        context.watched,
    )


def _view(record: Diagnosis) -> View:
    number = len(record.causes)
    verdict = f"{number} cause{'s' if number > 1 else ''}" if number else "nothing is wrong, as far as was looked"
    head = facts(
        ("start", _start(record.watched) if record.watched else None),
        ("checks", f"{len(record.passed)} passed, {len(record.not_asked)} had nothing to look at here"),
    )
    notes = [f"worth knowing: {finding}" for finding in record.notes]
    return View(f"Diagnosis: {verdict}", head, tuple(map(_cause, record.causes)), (), tuple(notes))


_ENDINGS = {
    "arrived": "it came as far as it goes",
    "halted": "it halted for good",
    "reset": "it was reset",
    "loops": "it goes round in a loop",
    "runs": "it still ran",
}


def _start(watched: Watched) -> Cell:
    count = watched.exceptions
    taken = f", {count:,} exception{'s' if count > 1 else ''}" if count else ""
    how = f"{_ENDINGS[watched.ending]}, after {watched.seconds:g} s{taken}"
    return Cell(how, "bad" if watched.ending == "reset" else "")


def _cause(cause: Cause) -> str:
    lines = [details(cause.finding)]
    lines += [f"  {'perhaps' if not number else '':<9} {found}" for number, found in enumerate(cause.may_follow)]
    return "\n".join(lines)


QUESTION = Question(
    name="diagnose",
    help="the cause of what is wrong: evidence, consequence, next step, and what may follow from it",
    details="Asks every check, also those that cost packets over a gdbstub, and tells a cause before its symptoms. "
    "In a shell a boot disk is started and watched.",
    of_kernel_files=True,
    example="diagnose",
    needs=(MEMORY, MACHINE, TRACE),
    ask=_ask,
    view=_view,
    verdict=lambda record: not record.causes,
    no="something is wrong",
)
