"""Which module images does the kernel keep in its cache?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import ROOT, Question
from bareflow_gdb.render.view import View, address, facts, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.cache import Cache


def _view(record: Cache) -> View:
    """Slots in use, the one that leaves first on top."""
    asked = record.hits + record.misses
    head = facts(
        ("slots", f"{len(record.slots)} of {record.capacity} in use"),
        ("asked for", f"{asked:,}: {record.hits:,} were there, {record.misses:,} were looked for on the disk"),
        ("evictions", record.evictions),
    )
    rows = [
        (str(s.index), s.name, f"O{s.level}", s.state, address(s.image), s.image_size, s.tsc_last_used or None)
        for s in record.slots
    ]
    columns = ">slot|module|tier|state|image|>bytes|>~last used, TSC"
    problems = record.problems + ((record.wrong_eviction,) if record.wrong_eviction else ())
    notes = ("a run asks for each tier once; what is rolled back or forced is found here",) if asked else ()
    return View("Cache of module images", head, (table(columns, rows, empty="empty"),), problems, notes)


QUESTION = Question(
    name="cache",
    help="the kernel's cache of module images: slots, hits, misses, evictions",
    example="cache",
    needs=(ROOT,),
    ask=lambda context, _: context.kernel.cache(),
    view=_view,
    verdict=lambda record: not record.problems and not record.wrong_eviction,
    no="a slot cannot be right, or the wrong image was evicted",
)
