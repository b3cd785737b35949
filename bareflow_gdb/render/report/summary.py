"""The same trace as a page of plain text, for a terminal, a mail or a CI log."""

from __future__ import annotations

from bareflow_gdb.analysis.digest import Digest, verdicts
from bareflow_gdb.render import text
from bareflow_gdb.render.view import Table, View, address, facts, level_name, number, table

MAX_SWAPS = 200


def summary(digest: Digest) -> str:
    """The text, one trailing newline."""
    view = digest.overview
    build = view.build_id[:12] or "unknown build"
    shown = text.plain(
        View(
            title=f"BareFlow trace of {view.machine}: {view.variant} {build}, {view.started}",
            facts=facts(
                ("clock", view.clock),
                ("events", f"{view.events:,}, {view.lost:,} lost"),
                ("time", f"{view.span} from the first to the last event"),
                ("functions", ", ".join(view.functions) or "none"),
                ("thresholds", "/".join(map(str, view.thresholds)) or "none"),
                ("swaps", f"{view.swaps}"),
                ("ended", view.ended or "recorder killed"),
            ),
            parts=(_swaps(digest), _latencies(digest), _verdicts(digest)),
            problems=digest.agreement.disagreements,
            notes=tuple(f"not in this trace: {line}" for line in digest.missing),
        )
    )
    return shown + "\n"


def _swaps(digest: Digest) -> Table:
    first = digest.overview.first_tsc
    rows = [
        (
            f"+{digest.overview.duration(swap.tsc - first)}",
            swap.function,
            f"{level_name(swap.from_level)} -> O{swap.to_level}",
            swap.call,
            swap.reason.replace("_", " "),
            address(swap.old_code),
            address(swap.new_code),
            swap.code_size,
            number(swap.publish_to_first_us),
        )
        for swap in digest.swaps.swaps[:MAX_SWAPS]
    ]
    more = len(digest.swaps.swaps) - len(rows)
    title = "swaps" if more <= 0 else f"swaps (the first {MAX_SWAPS} of {len(digest.swaps.swaps)})"
    heads = ">time|function|level|>call|reason|old entry|new entry|>bytes|>to first call, us"
    return table(heads, rows, title, "no code was swapped")


def _latencies(digest: Digest) -> Table:
    duration = digest.overview.duration
    rows = [
        (f"{step.start} -> {step.end}", step.count, duration(int(step.median)), duration(step.maximum))
        for step in digest.latencies
    ]
    return table("step|>swaps|>median|>longest", rows, "latencies")


def _verdicts(digest: Digest) -> Table:
    words = {"good": "ok", "note": "note", "bad": "WRONG"}
    rows = [(words[verdict.kind], verdict.text) for verdict in verdicts(digest)]
    return table("|finding", rows, "findings")
