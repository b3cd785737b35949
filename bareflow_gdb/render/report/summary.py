"""The same report in short, for a terminal, a mail or a CI log: plain text or Markdown."""

from __future__ import annotations

from dataclasses import replace

from bareflow_gdb.analysis.digest import Digest, verdicts
from bareflow_gdb.render import text
from bareflow_gdb.render.report.sections import ENDED
from bareflow_gdb.render.view import Cell, Table, View, address, facts, known, level_name, milliseconds, spoken, table

MAX_SWAPS = 200


def summary(digest: Digest, unanswered: tuple[str, ...] = ()) -> str:
    """The text, one trailing newline."""
    return text.plain(summary_view(digest, unanswered)) + "\n"


def summary_view(digest: Digest, unanswered: tuple[str, ...] = ()) -> View:
    """What is worth telling in short, worst first."""
    started = f", {digest.overview.started}" if digest.overview else ""
    return View(
        title=f"BareFlow {digest.title}: {digest.kernel}{started}",
        facts=(*facts(*digest.sources.items()), *_recorded(digest), *_swap_count(digest)),
        parts=(_verdicts(digest), _swaps(digest), *_latencies(digest)),
        problems=(
            *(digest.agreement.disagreements if digest.agreement else ()),
            *(line for found in digest.second for line in found.contradictions),
        ),
        notes=tuple(f"not in these sources: {line}" for line in (*digest.missing, *unanswered)),
    )


def _recorded(digest: Digest) -> tuple[tuple[str, Cell], ...]:
    view = digest.overview
    if view is None:
        return known(("stage", digest.status.came_to if digest.status else None))
    return facts(
        ("clock", view.clock),
        ("recording", f"{view.events:,} events, {view.lost:,} lost"),
        *((("kept", f"{'; '.join(view.filter)}: {view.left_out:,} events are left out"),) if view.filter else ()),
        *(("source", f"{one.name}: {one.confidence}") for one in view.sources if view.seen_from_outside),
        ("time", f"{view.span} from the first to the last event"),
        ("functions", ", ".join(view.functions) or "none"),
        ("thresholds", " / ".join(f"{calls:,}" for calls in view.thresholds) or "none"),
        ("ended", ENDED.get(view.ended, view.ended)),
    )


def _swap_count(digest: Digest) -> tuple[tuple[str, Cell], ...]:
    if digest.swaps is None:
        return ()
    since = f", times from {digest.clock.since}" if digest.clock.since else ""
    return facts(("swaps", f"{len(digest.swaps.swaps):,}, by the {digest.swaps_from}{since}"))


def _swaps(digest: Digest) -> Table:
    listed = digest.swaps.swaps if digest.swaps else ()
    rows = [
        (
            digest.clock.moment(swap.tsc) if swap.tsc else None,
            swap.function,
            f"{level_name(swap.from_level)} -> O{swap.to_level}",
            swap.call,
            None if swap.reason == "none" else spoken(swap.reason),
            address(swap.old_code),
            address(swap.new_code),
            swap.code_size or None,
            milliseconds(swap.publish_to_first_us),
        )
        for swap in listed[:MAX_SWAPS]
    ]
    title = "swaps" if len(listed) <= MAX_SWAPS else f"swaps (the first {MAX_SWAPS} of {len(listed):,})"
    heads = ">time|function|tier|>call|reason|old entry|new entry|>bytes|>publish to first call ms"
    return _told(table(heads, rows, title, "no code was swapped"))


def _told(shown: Table) -> Table:
    """Without the columns in which a source tells nothing."""
    kept = [at for at in range(len(shown.columns)) if any(row[at].text != "-" for row in shown.rows)]
    return replace(
        shown,
        columns=tuple(shown.columns[at] for at in kept),
        rows=tuple(tuple(row[at] for at in kept) for row in shown.rows),
    )


def _latencies(digest: Digest) -> tuple[Table, ...]:
    if digest.overview is None:
        return ()
    duration = digest.clock.duration
    rows = [
        (f"{step.start} -> {step.end}", step.count, duration(int(step.median)), duration(step.maximum))
        for step in digest.latencies
    ]
    return (table("step|>swaps|>median|>longest", rows, "latencies"),)


def _verdicts(digest: Digest) -> Table:
    words = {"good": "ok", "note": "note", "bad": "WRONG"}
    rows = [(words[verdict.kind], verdict.text) for verdict in verdicts(digest)]
    return table("|finding", rows, "findings", "nothing could be judged")
