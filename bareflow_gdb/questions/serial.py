"""What did the guest print on COM1?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import MACHINE, MEMORY, Context, Options, Question, argument
from bareflow_gdb.render.view import View

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.serial import Serial


def _ask(context: Context, options: Options) -> Serial:
    from bareflow_gdb.guest.machine.serial import read_serial_file

    if context.serial_file is None:
        if context.kernel.root is None:
            # Its log would be the answer, and it keeps none.
            context.kernel.need_interface(
                "what it printed on COM1 is neither in its memory nor beside this target; ask the machine, or give the "
                "file that COM1 was written to"
            )
        return context.kernel.serial(options.last)
    return read_serial_file(context.serial_file, options.last)


def _view(record: Serial) -> View:
    """The text itself; what is left out is said after it."""
    notes = []
    if record.source != "file":
        notes.append("from the kernel's own log buffer: this target has no serial log")
    if record.lost:
        notes.append(f"{record.lost:,} earlier bytes are not shown")
    return View("", parts=(record.text,), notes=tuple(notes))


QUESTION = Question(
    name="serial",
    help="what the guest printed on COM1: the serial log, else its own log buffer",
    details="`bareflow serial --follow` shows it as it comes.",
    example="serial --last 500",
    arguments=(argument("--last", type=int, metavar="BYTES", help="only the end of it"),),
    needs=(MEMORY, MACHINE),
    ask=_ask,
    view=_view,
    file_kind="serial",
)
