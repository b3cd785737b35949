"""What stands at the head of the report, and in its parts about swaps? A digest in, HTML out."""

from __future__ import annotations

from bareflow_gdb.analysis.comparisons import Comparison
from bareflow_gdb.analysis.digest import Digest, counted, verdicts
from bareflow_gdb.checks.registry import FOUND, PASSED
from bareflow_gdb.guest.code.code_diff import Row
from bareflow_gdb.guest.code.log_lines import boots
from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.render.report.activity import picture
from bareflow_gdb.render.report.markup import Child, Markup, join, table, tag
from bareflow_gdb.render.report.timeline import swap_timeline
from bareflow_gdb.render.report.values import address, levels
from bareflow_gdb.render.report.writing_picture import writing_picture
from bareflow_gdb.render.view import milliseconds, spoken

MAX_SWAPS = 2000
MAX_ROWS = 1000

ENDED = {
    "": "the recorder was killed",
    "idle": "recorded until the guest's run was over",
    "halted": "recorded until the guest halted",
    "time": "recorded for as long as was asked",
    "interrupted": "recorded until it was told to stop",
    "guest gone": "recorded until QEMU ended",
    "guest restarted": "recorded until the guest was reset",
}
"""What ended a recording, in words that are right for a good one."""


def header(digest: Digest) -> Markup:
    """Name, guest, sources, and the lines a reader wants first."""
    view = digest.overview
    chips = [tag("li", verdict.text, class_=verdict.kind) for verdict in verdicts(digest)]
    recorded = f", {view.started}, {ENDED.get(view.ended, view.ended)}" if view else ""
    sources = [tag("span", tag("b", kind), f" {where}", class_="legend") for kind, where in digest.sources.items()]
    return tag(
        "header",
        tag("h1", f"BareFlow {digest.title}"),
        tag("p", f"{digest.kernel}{recorded}", class_="quiet"),
        tag("p", "Made from: ", sources, class_="quiet"),
        tag("ul", chips, class_="chips"),
    )


def _card(number: int, what: str, where: str = "") -> tuple[str, str]:
    value, name = counted(number, what).split(" ", 1)
    return name + where, value


def figures(digest: Digest) -> Markup:
    """The cards with the big numbers, and the clock."""
    view, swaps = digest.overview, digest.swaps
    cards: list[tuple[str, str]] = []
    if view is not None:
        cards = [_card(view.events, "event"), ("lost", f"{view.lost:,}")]
    elif digest.status is not None:
        cards = [("stage", digest.status.came_to)]
    if digest.serial is not None and view is None:
        cards.append(_card(len(boots(digest.serial.text)), "boot", " in the log"))
    cards.append(_card(sum(1 for one in digest.checks.findings if one.bad), "finding"))
    if swaps is not None:
        cards.append(_card(len(swaps.swaps), "swap"))
    if view is not None:
        cards += [
            _card(len(view.functions), "function"),
            _card(view.versions, "version"),
            ("first to last event", view.span),
        ]
    else:
        cards += [_card(len(digest.modules.modules), "module")] if digest.modules else []
        cards += [_card(len(digest.profile.functions), "function")] if digest.profile else []
    boxes = [tag("div", tag("b", value), tag("span", name), class_="card") for name, value in cards]
    keys = [tag("span", tag("i", class_=f"key l{number}"), f"O{number}", class_="legend") for number in range(4)]
    clock = f"Clock: {view.clock}. " if view else ""
    since = f"Times count from {digest.clock.since}. " if digest.clock.since else ""
    told = tag("p", clock, since, class_="quiet") if clock or since else None
    return join(tag("div", boxes, class_="cards"), told, tag("p", "Tiers: ", keys, class_="quiet"))


def findings(digest: Digest) -> Markup:
    """What the checks found, each with all that is known of it, and which could look."""
    found = [
        tag(
            "li",
            tag("b", one.severity, class_="bad" if one.bad else "note"),
            f" {one.what}",
            f" ({one.where})" if one.where else None,
            [
                tag("div", tag("span", f"{label}: ", class_="quiet"), text)
                for label, text in (("known by", one.evidence), ("then", one.consequence), ("next", one.next_step))
                if text
            ],
        )
        for one in digest.checks.findings
    ]
    styles = {PASSED: "good", FOUND: "bad"}
    rows = [
        (one.name, tag("span", one.state, class_=styles.get(one.state, "quiet")), one.looks_at, one.why)
        for one in digest.checks.checks
    ]
    passed = sum(1 for one in digest.checks.checks if one.state == PASSED)
    summary = tag("summary", f"{len(rows):,} checks, of which {passed:,} looked and found nothing")
    words = tag("p", f"{str(digest.checks)[0].upper()}{str(digest.checks)[1:]}.") if not found else None
    return join(
        words,
        tag("ul", found, class_="findings") if found else None,
        tag("details", summary, table("check|state|looks at|why not", rows)),
    )


def when(digest: Digest) -> Markup:
    """The picture that is moved, searched and enlarged."""
    return picture(digest.activity, digest.clock) if digest.activity is not None else Markup("")


def written(digest: Digest) -> Markup:
    """Tokens a second of each answer, and its words."""
    return writing_picture(digest.writing, digest.clock) if digest.writing is not None else Markup("")


def swaps(digest: Digest) -> Markup:
    """Timeline and table."""
    listed = digest.swaps.swaps if digest.swaps else ()
    if not listed:
        return tag("p", "No code was swapped, as far as these sources tell.", class_="quiet")
    drawn = swap_timeline(listed, digest.clock) if all(swap.tsc for swap in listed) else None
    compared = len(digest.comparisons)
    same: list[Child | float] = ["equal code" if swap.same_code else "" for swap in listed]
    columns: tuple[tuple[str, list[Child | float]], ...] = (
        (">#", [tag("a", n, href=f"#swap-{n}") if n <= compared else n for n in range(1, len(listed) + 1)]),
        (">time", [digest.clock.moment(swap.tsc) if swap.tsc else None for swap in listed]),
        ("function", [swap.function for swap in listed]),
        ("tier", [levels(swap) for swap in listed]),
        (">call", [swap.call for swap in listed]),
        ("reason", [None if swap.reason == "none" else spoken(swap.reason) for swap in listed]),
        ("old entry", [address(swap.old_code) for swap in listed]),
        ("new entry", [address(swap.new_code) for swap in listed]),
        (">bytes", [swap.code_size or None for swap in listed]),
        (">threshold to publish ms", [_time(swap.threshold_to_publish_us) for swap in listed]),
        (">publish to first call ms", [_time(swap.publish_to_first_us) for swap in listed]),
        ("", same),
    )
    # A source that does not tell something has no column for it.
    told = [(head, values[:MAX_SWAPS]) for head, values in columns if any(value not in (None, "") for value in values)]
    rows = zip(*(values for _, values in told), strict=True)
    more = len(listed) - MAX_SWAPS
    forgotten = digest.swaps.forgotten if digest.swaps else 0
    notes = (
        f"{more:,} more swaps are not shown" if more > 0 else "",
        f"the kernel has forgotten {forgotten:,} earlier swaps" if forgotten else "",
    )
    shown = [tag("p", note, class_="quiet") for note in notes if note]
    return join(drawn, table("|".join(head for head, _ in told), rows), shown)


def _time(us: float | None) -> str | None:
    return milliseconds(us).text if us is not None else None


def latencies(digest: Digest) -> Markup:
    """Each step of the swaps, and the whole."""
    duration = digest.clock.duration
    rows = [
        (
            spoken(f"{step.start} → {step.end}"),
            step.count,
            duration(step.minimum),
            duration(int(step.median)),
            duration(step.maximum),
        )
        for step in digest.latencies
    ]
    return table("step|>swaps|>shortest|>median|>longest", rows, "The trace holds no complete step.")


def agreement(digest: Digest) -> Markup:
    """Serial log against event ring or memory."""
    found = digest.agreement
    if found is None:
        return Markup("")
    other = "event ring" if found.other == "ring" else found.other
    words = f"The serial log and the {other} agree on {counted(found.agreed, 'swap')}."
    if not found.agree:
        words = f"The log has {found.log_swaps:,} swaps, the {other} {found.other_swaps:,}; they contradict each other:"
    lines = [tag("li", line) for line in found.disagreements[:MAX_ROWS]]
    rest = [tag("li", line) for line in found.uncovered[:MAX_ROWS]]
    return join(
        tag("p", words),
        tag("ul", lines, class_="problems") if lines else None,
        tag("p", "Told by one of them alone, which begins earlier or ends later:", class_="quiet") if rest else None,
        tag("ul", rest, class_="quiet") if rest else None,
    )


def code(digest: Digest) -> Markup:
    """Old and new machine code of each swap, side by side."""
    parts = [_comparison(number, found) for number, found in enumerate(digest.comparisons, 1)]
    return join(parts) if parts else tag("p", "No swap, no code to compare.", class_="quiet")


def _comparison(number: int, found: Comparison) -> Markup:
    swap: Swap = found.swap
    if found.missing:
        inner: Markup = tag("p", found.missing, class_="quiet")
        sizes = "code not there"
    else:
        inner = _listing(found.rows)
        sizes = f"{found.old_size:,} → {found.new_size:,} bytes" + (", equal code" if found.equal else "")
    summary = tag("summary", f"{number}. {swap.function}: ", levels(swap), tag("span", f" {sizes}", class_="quiet"))
    return tag("details", summary, inner, id=f"swap-{number}", open="open" if number == 1 else None)


def _listing(rows: tuple[Row, ...]) -> Markup:
    body = [
        tag(
            "tr",
            tag("td", f"+{row.old.offset:03x}" if row.old else "", class_="off"),
            tag("td", row.old.text if row.old else "", class_="old" if row.old and not row.equal else None),
            tag("td", f"+{row.new.offset:03x}" if row.new else "", class_="off"),
            tag("td", row.new.text if row.new else "", class_="new" if row.new and not row.equal else None),
        )
        for row in rows[:MAX_ROWS]
    ]
    more = len(rows) - MAX_ROWS
    note = tag("p", f"{more:,} more lines are not shown", class_="quiet") if more > 0 else None
    return join(tag("div", tag("table", tag("tbody", body), class_="code"), class_="scroll"), note)
