"""How does a digest become one HTML file?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bareflow_gdb.analysis.digest import Digest
from bareflow_gdb.analysis.evidence import EVENTS, LOG, MEMORY
from bareflow_gdb.render.report import activity, sections, tables
from bareflow_gdb.render.report.document import document
from bareflow_gdb.render.report.markup import Markup, tag
from bareflow_gdb.render.report.of_view import Answered, answered

Section = tuple[str, str, Callable[[Digest], Markup]]
"""Title, sources, what makes it."""


def page(digest: Digest, answers: Sequence[Answered] = (), unanswered: tuple[str, ...] = ()) -> str:
    """The whole document. `answers`: to questions without a part of their own; `unanswered`: why others have none."""
    drawn = activity.script() if digest.activity is not None else ""
    parts = [_section(title, source, make(digest)) for title, source, make in _own(digest)]
    parts += [_section(one.view.title, MEMORY, answered(one)) for one in answers]
    if digest.sources.get(LOG):
        parts.append(_section("What it printed", LOG, tables.printed(digest)))
    parts.append(_section("What is missing, and how the rest was found", "", tables.ending(digest, unanswered)))
    return document(digest.title, sections.header(digest), sections.figures(digest), parts, script=drawn)


def _section(title: str, source: str, content: Markup) -> Markup:
    told = tag("small", f"from {source}", class_="quiet") if source else None
    return tag("section", tag("h2", title, " ", told), content)


def _own(digest: Digest) -> Iterator[Section]:
    """The parts for which there are sources."""
    log_and = f"the {LOG} and {EVENTS if digest.overview else MEMORY}"
    yield "Findings", ", ".join(digest.sources), sections.findings
    if digest.activity is not None:
        yield "What happened when", EVENTS if digest.overview else MEMORY, sections.when
    if digest.writing is not None:
        yield "How fast the model wrote", EVENTS, sections.written
    if digest.swaps is not None:
        yield "Swaps", digest.swaps_from, sections.swaps
        if digest.swaps.swaps:
            yield "What the swaps were worth", MEMORY if MEMORY in digest.sources else digest.swaps_from, tables.worth
    if digest.overview is not None:
        yield "How long swaps take", EVENTS, sections.latencies
    if digest.agreement is not None:
        yield f"Log and {digest.agreement.other}", log_and, sections.agreement
    if digest.second:
        both = f"the {LOG} and {MEMORY}" if any(found.against for found in digest.second) else LOG
        yield "Exported on COM1", both, tables.exported
    if digest.comparisons:
        yield "Code before and after", EVENTS if digest.overview else MEMORY, sections.code
    if MEMORY in digest.sources:
        yield "Profile", MEMORY, tables.profile
        yield "Modules", MEMORY, tables.modules
        yield "JIT pools", MEMORY, tables.pools
        if digest.boot is not None:
            yield "Boot", MEMORY, tables.boot
    if digest.overview is not None:
        yield "Events", EVENTS, tables.events
