"""Who called whom, how deep did the stack ever get?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import ADDRESS, Question, argument
from bareflow_gdb.render.view import View, address, facts, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.stack import Stack


def _view(record: Stack) -> View:
    """Frames, the innermost first."""
    rows = [(str(f.number), address(f.ebp), address(f.code), f.place.text) for f in record.frames]
    size = record.top - record.bottom
    sure = "" if record.deepest_sure else " at least"
    head = facts(
        ("from", record.source),
        ("ESP, EBP", f"0x{record.esp:08x}, 0x{record.ebp:08x}"),
        ("used", f"{record.used:,} of {size:,} bytes below 0x{record.top:08x}"),
        ("deepest ever", f"{record.deepest_used:,} bytes{sure}, down to 0x{record.deepest:08x}"),
    )
    notes = (f"end of the chain: {record.end}", *record.notes)
    return View("Stack", head, (table(">#|EBP|code|place", rows, empty="no frames"),), record.problems, notes)


QUESTION = Question(
    name="stack",
    help="who called whom by the chain of saved EBPs, JIT code by function and tier, the deepest use",
    details="Without registers (a trace, a dump) it begins with those of the last exception.",
    example="stack --ebp 0x8ffc0",
    arguments=tuple(
        argument(
            f"--{name}", kind=ADDRESS, metavar="ADDRESS", help=f"begin with this {name.upper()} (default: the CPU's)"
        )
        for name in ("esp", "ebp", "eip")
    ),
    ask=lambda context, options: context.kernel.stack(options.esp, options.ebp, options.eip),
    view=_view,
    verdict=lambda record: not record.problems,
    no="the stack is damaged or nearly full",
)
