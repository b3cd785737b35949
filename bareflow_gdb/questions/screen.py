"""What is on the guest's screen?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import MEMORY, Context, Options, Question
from bareflow_gdb.render.screen import screen_text

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.screen import Screen


def _ask(context: Context, options: Options) -> Screen:  # noqa: ARG001 - it has no arguments
    from bareflow_gdb.guest.machine.screen import read_screen

    return read_screen(context.guest.memory)


QUESTION = Question(
    name="screen",
    help="the VGA text on the guest's screen, in its colours on a terminal",
    details="The guest may run or be stopped.",
    example="screen",
    needs=(MEMORY,),
    ask=_ask,
    draw=lambda record, width, color: screen_text(record, color),  # noqa: ARG005 - as wide as the screen is
)
