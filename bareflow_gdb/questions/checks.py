"""What is wrong, by every check there is?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.checks import registry
from bareflow_gdb.questions.question import MACHINE, MEMORY, TRACE, Context, Options, Question, argument
from bareflow_gdb.render.view import Cell, View, table

if TYPE_CHECKING:
    from bareflow_gdb.checks.registry import Findings
    from bareflow_gdb.guest.base.finding import Finding

_STYLES = {"passed": "good", "found": "bad"}
_SEVERITIES = {"error": "bad", "warning": "strong", "note": "dim"}


def _ask(context: Context, options: Options) -> Findings:
    if context.serial_file is None:
        # Nothing else is there to be looked at: why it cannot be read is the answer.
        context.kernel.status()
    return registry.run(context.subject(), [options.check] if options.check else (), cheap=not options.all)


def _view(record: Findings) -> View:
    rows = [
        (one.name, Cell(one.state, _STYLES.get(one.state, "dim")), one.looks_at, one.why or None)
        for one in record.checks
    ]
    title = f"Checks: {record}"
    return View(title, (), (table("check|state|looks at|why not", rows), *map(details, record.findings)))


def details(finding: Finding) -> str:
    """A finding with all that is known of it."""
    lines = [f"{finding.severity}: {finding.what}" + (f" ({finding.where})" if finding.where else "")]
    told = (("known by", finding.evidence), ("then", finding.consequence), ("next", finding.next_step))
    return "\n".join(lines + [f"  {label:<9} {text}" for label, text in told if text])


QUESTION = Question(
    name="checks",
    help="what is wrong, by every check: finding, evidence, consequence, next step",
    details="Each says what it looked at, and why where it could not. In a shell also of the ELF, the binary or the "
    "boot disk of a stock kernel: what can be told before it runs.",
    of_kernel_files=True,
    example="checks",
    arguments=(
        argument("check", nargs="?", choices=registry.names(), metavar="CHECK", help="only this one (default: all)"),
        argument("--all", action="store_true", help="also those that cost packets over a gdbstub"),
    ),
    needs=(MEMORY, MACHINE, TRACE),
    ask=_ask,
    view=_view,
    verdict=lambda record: record.ok,
    no="something is wrong",
)
