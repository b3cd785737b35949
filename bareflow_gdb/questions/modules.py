"""Which modules run, from where, is each header right?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import Context, Options, Question, argument
from bareflow_gdb.render.view import Cell, View, address, facts, number, spoken, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.modules.modules import Module, Modules


def _ask(context: Context, options: Options) -> Modules:
    kernel = context.kernel
    return kernel.modules(check=options.check or not kernel.reads_cost)


def _view(record: Modules) -> View:
    """One line per module."""
    rows = [
        (
            str(m.index),
            m.name,
            "-" if m.level is None else f"O{m.level}",
            spoken(m.source) or "-",
            address(m.code),
            m.code_size,
            _header(m),
            m.digest,
            m.calls,
            m.total_cycles,
            m.min_cycles,
            number(m.mean_cycles),
            m.max_cycles,
        )
        for m in record.modules
    ]
    head = facts(("modules", f"{record.count} of at most {record.capacity}"), ("calls", record.total_calls))
    columns = ">~#|module|tier|~source|code|>bytes|header|~SHA-256|>calls|>~cycles|>~min|>mean|>~max"
    unchecked = any(m.digest == "not checked" for m in record.modules)
    notes = ("`modules --check` compares each SHA-256; here that costs packets",) if unchecked else ()
    return View("Modules", head, (table(columns, rows),), tuple(record.all_problems()), notes)


def _header(module: Module) -> Cell:
    if module.header is None:
        return Cell("not kept", "dim")
    if module.problems:
        return Cell("wrong", "bad")
    return Cell(f"right, v{module.header.version}", "good")


QUESTION = Question(
    name="modules",
    help="loaded modules: address, size, header, calls, cycles",
    example="modules --check",
    arguments=(argument("--check", action="store_true", help="compute each SHA-256, where that costs packets too"),),
    ask=_ask,
    view=_view,
    verdict=lambda record: not record.all_problems(),
    no="a header or an image is not right",
)
