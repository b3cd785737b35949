"""Which bitcode does a function carry, who made it, is its header right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import FUNCTIONS, NAME_OR_ADDRESS, Question, argument
from bareflow_gdb.render.view import View, known, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.bitcode_report import BitcodeReport


def _view(record: BitcodeReport) -> View:
    """Wrapper and producer."""
    code, made = record.bitcode, record.producer
    if not code.address:
        return View(f"Bitcode of {code.function}", notes=(f"{code.function} carries no bitcode",))
    head = known(
        ("wrapper", yes(not record.problems, "right", "wrong")),
        ("at", f"0x{code.address:08x}, {code.size:,} bytes with the payload"),
        ("header", record.generation),
        ("module", code.module),
        ("entry", code.entry),
        ("version", f"{code.version}, made at O{code.level}"),
        ("payload", f"0x{code.payload:08x}, {code.payload_size:,} bytes" if code.payload else None),
        ("producer", made.producer if made else None),
        ("format", f"epoch {made.epoch}, module version {made.version}" if made else None),
        ("triple", made.triple if made else None),
        ("source", made.source if made else None),
    )
    title = f"Bitcode of {code.function}" if code.function else "Bitcode"
    return View(title, head, (), record.problems)


QUESTION = Question(
    name="bitcode",
    help="a function's bitcode: header generation, payload, producer, target, source",
    example="bitcode primes",
    arguments=(
        argument(
            "function",
            kind=NAME_OR_ADDRESS,
            names=FUNCTIONS,
            metavar="NAME|ADDRESS",
            help="a function of the adaptive JIT, or the address of a bitcode header",
        ),
    ),
    ask=lambda context, options: context.kernel.bitcode_of(options.function),
    view=_view,
    verdict=lambda record: not record.problems,
    no="something is wrong with it",
)
