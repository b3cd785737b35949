"""How are the differences of two images shown? The first one in words, the others as a table."""

from __future__ import annotations

from bareflow_gdb.analysis.image_differences import Differences
from bareflow_gdb.render.view import Cell, View, facts, table


def view(found: Differences) -> View:
    """The first difference is what to look at; those after it may follow from it."""
    first = found.first
    same = ", ".join(found.same) or "nothing"
    if first is None:
        return View("The images do not differ in anything that matters", facts(("compared", same)))
    head = facts(
        ("good", str(found.good)),
        ("bad", str(found.bad)),
        ("first", Cell(f"{first.kind}: {first.what}", "bad")),
        ("good has", first.good),
        ("bad has", first.bad),
        *((("so", first.consequence),) if first.consequence else ()),
        ("the same", same),
    )
    rows = [(one.kind, one.what, one.good, one.bad) for one in found.differences[1:]]
    parts = (table("difference||good has|bad has", rows, title="May follow from it"),) if rows else ()
    return View("What the bad image has otherwise", head, parts)
