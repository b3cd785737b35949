"""What is hot, and what did the function profiler decide?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import Question
from bareflow_gdb.render.view import Cell, View, address, facts, number, table, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.profiler import Profile


def _view(record: Profile) -> View:
    """The hottest first."""
    rows = [
        (
            str(f.id),
            f.name,
            f.module or "-",
            f"O{f.level}",
            f.calls,
            f.total_cycles,
            f.min_cycles,
            number(f.mean_cycles),
            f.max_cycles,
            Cell("hot", "bad") if f.hot else "-",
            "asked for" if f.needs_recompile else "-",
            address(f.address),
        )
        for f in record.functions
    ]
    head = facts(
        ("functions", f"{record.count} of at most {record.capacity}"),
        ("calls", record.total_calls),
        ("thresholds", " / ".join(f"{n:,}" for n in record.thresholds) if record.thresholds else None),
        ("adaptive JIT", yes(record.jit_enabled, "on", "off")),
    )
    columns = ">~#|function|~module|tier|>calls|>cycles|>~min|>mean|>~max|hot|~recompile|~code"
    return View("Function profile", head, (table(columns, rows),), record.problems)


QUESTION = Question(
    name="profile",
    help="calls and cycles of each function, the hottest first",
    example="profile",
    ask=lambda context, _: context.kernel.profile(),
    view=_view,
    verdict=lambda record: not record.problems,
    no="the profiler's records contradict one another",
)
