"""What is the cause of what is wrong, and what may follow from it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.checks import details
from bareflow_gdb.questions.question import MACHINE, MEMORY, TRACE, Context, Options, Question
from bareflow_gdb.render.view import Cell, View, facts

if TYPE_CHECKING:
    from bareflow_gdb.checks.causes import Cause
    from bareflow_gdb.checks.diagnosis import Diagnosis
    from bareflow_gdb.guest.boot.watch import Watched


def _ask(context: Context, _: Options) -> Diagnosis:
    from bareflow_gdb.checks import registry
    from bareflow_gdb.checks.diagnosis import Diagnosis

    if context.serial_file is None and context.module_disk is None:
        # Nothing else is there to be looked at: why it cannot be read is the answer.
        context.kernel.status()
    return Diagnosis.of(registry.run(context.subject()), context.watched)


def _view(record: Diagnosis) -> View:
    number = len(record.causes)
    verdict = f"{number} cause{'s' if number > 1 else ''}" if number else "nothing is wrong, as far as was looked"
    asked = f"{len(record.passed)} passed, {len(record.not_asked)} had nothing to look at here"
    start = (("start", _start(record.watched)),) if record.watched is not None else ()
    head = facts(*start, ("checks", asked))
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
    "In a shell a boot disk is started and watched, and of a disk of modules its volume is looked at.",
    of_kernel_files=True,
    example="diagnose",
    needs=(MEMORY, MACHINE, TRACE),
    ask=_ask,
    view=_view,
    verdict=lambda record: not record.causes,
    no="something is wrong",
)
