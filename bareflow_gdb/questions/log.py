"""What did the guest print on COM1, by its own log buffer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import ROOT, Question, argument
from bareflow_gdb.render.view import View

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.log import Log


def _view(record: Log) -> View:
    """The text itself; what was lost is said after it."""
    notes = (f"{record.lost:,} earlier bytes are not shown",) if record.lost else ()
    return View("", parts=(record.text,), notes=notes)


QUESTION = Question(
    name="log",
    help="what the guest printed, from its own log buffer",
    details="The buffer keeps the last 16 KiB, in a core and after a halt too.",
    example="log --last 500",
    arguments=(argument("--last", type=int, metavar="BYTES", help="only the end of it"),),
    needs=(ROOT,),
    ask=lambda context, options: context.kernel.log(options.last),
    view=_view,
)
