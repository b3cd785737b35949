"""What stands in each part of the report? One function per section: a digest in, HTML out."""

from __future__ import annotations

from operator import attrgetter

from bareflow_gdb.analysis.digest import Comparison, Digest, verdicts
from bareflow_gdb.guest.code.code_diff import Row
from bareflow_gdb.guest.code.swaps import Swap
from bareflow_gdb.render.fold import folded
from bareflow_gdb.render.report.markup import Markup, join, table, tag
from bareflow_gdb.render.report.pool_picture import pool_picture
from bareflow_gdb.render.report.timeline import boot_timeline, level_class, swap_timeline
from bareflow_gdb.render.view import level_name

MAX_SWAPS = 2000
MAX_ROWS = 1000
MAX_SERIAL = 200_000


def header(digest: Digest) -> Markup:
    """Name, guest, clock, and the lines a reader wants first."""
    view = digest.overview
    build = view.build_id[:12] or "unknown build"
    chips = [tag("li", verdict.text, class_=verdict.kind) for verdict in verdicts(digest)]
    ended = f"ended: {view.ended}" if view.ended else "not completed"
    return tag(
        "header",
        tag("h1", "BareFlow trace"),
        tag("p", f"{view.variant} {build} on {view.machine}, {view.started}, {ended}", class_="quiet"),
        tag("ul", chips, class_="chips"),
    )


def figures(digest: Digest) -> Markup:
    """The cards with the big numbers, and the clock."""
    view = digest.overview
    cards = [
        ("events", f"{view.events:,}"),
        ("lost", f"{view.lost:,}"),
        ("swaps", f"{view.swaps:,}"),
        ("functions", f"{len(view.functions):,}"),
        ("versions", f"{view.versions:,}"),
        ("first to last event", view.span),
    ]
    boxes = [tag("div", tag("b", value), tag("span", name), class_="card") for name, value in cards]
    levels = [tag("span", tag("i", class_=f"key l{level}"), f"O{level}", class_="legend") for level in range(4)]
    return join(
        tag("div", boxes, class_="cards"), tag("p", "Clock: ", view.clock, ". Levels: ", levels, class_="quiet")
    )


def swaps(digest: Digest) -> Markup:
    """Timeline and table."""
    listed = digest.swaps.swaps
    if not listed:
        return tag("p", "No code was swapped in this trace.", class_="quiet")
    duration = digest.overview.duration
    picture = swap_timeline(listed, digest.overview.last_tsc, duration)
    rows = [
        (
            tag("a", number, href=f"#swap-{number}"),
            f"+{duration(swap.tsc - digest.overview.first_tsc)}",
            swap.function,
            _levels(swap),
            swap.call,
            swap.reason.replace("_", " "),
            _address(swap.old_code),
            _address(swap.new_code),
            swap.code_size,
            swap.threshold_to_publish_us,
            swap.publish_to_first_us,
            "equal code" if swap.same_code else "",
        )
        for number, swap in enumerate(listed[:MAX_SWAPS], 1)
    ]
    heads = (
        ">#|>time|function|level|>call|reason|old entry|new entry|>bytes|"
        ">threshold to publish, us|>publish to first call, us|"
    )
    more = len(listed) - len(rows)
    note = tag("p", f"{more:,} more swaps are not shown", class_="quiet") if more > 0 else None
    return join(picture, table(heads, rows), note)


def latencies(digest: Digest) -> Markup:
    """Each step of the swaps, and the whole."""
    duration = digest.overview.duration
    rows = [
        (
            f"{step.start} → {step.end}".replace("_", " "),
            str(step.count),
            duration(step.minimum),
            duration(int(step.median)),
            duration(step.maximum),
        )
        for step in digest.latencies
    ]
    return table("step|>swaps|>shortest|>median|>longest", rows, "The trace holds no complete step.")


def agreement(digest: Digest) -> Markup:
    """Serial log against event ring."""
    found = digest.agreement
    if found.agree:
        return tag("p", f"The serial log and the event ring agree on {found.ring_swaps} swaps.")
    lines = [tag("li", line) for line in found.disagreements[:MAX_ROWS]]
    return join(tag("p", f"The log has {found.log_swaps} swaps, the ring {found.ring_swaps}:"), tag("ul", lines))


def boot(digest: Digest) -> Markup:
    """The stages reached."""
    if digest.boot is None:
        return _missing()
    record = digest.boot
    words = (
        f"Reached {record.stage}; disk by {record.disk_method.upper()}, A20 {record.a20_method.replace('_', ' ')}, "
        f"{record.sectors_read} of {record.sectors_needed} sectors read, "
        f"CRC 0x{record.crc_computed:08x} (expected 0x{record.crc_expected:08x})."
    )
    return join(tag("p", words), boot_timeline(record), _problems(record.problems))


def pools(digest: Digest) -> Markup:
    """A strip per pool."""
    if digest.pools is None:
        return _missing()
    return join(pool_picture(digest.pools), _problems(digest.pools.all_problems()))


def modules(digest: Digest) -> Markup:
    """The module manager's records."""
    if digest.modules is None:
        return _missing()
    rows = [
        (
            module.name,
            module.source or "-",
            level_name(module.level),
            _address(module.code),
            module.code_size,
            module.calls,
            module.mean_cycles,
            module.digest,
        )
        for module in digest.modules.modules
    ]
    heads = "module|source|level|entry|>bytes|>calls|>mean cycles|SHA-256"
    return join(table(heads, rows), _problems(digest.modules.all_problems()))


def profile(digest: Digest) -> Markup:
    """What the function profiler counted."""
    if digest.profile is None:
        return _missing()
    total = max(1, sum(function.total_cycles for function in digest.profile.functions))
    rows = [
        (
            function.name,
            _level(function.level),
            function.calls,
            function.total_cycles,
            f"{100 * function.total_cycles / total:.1f} %",
            function.mean_cycles,
            function.min_cycles,
            function.max_cycles,
        )
        for function in digest.profile.functions
    ]
    return table("function|level|>calls|>total cycles|>share|>mean|>shortest|>longest", rows)


def code(digest: Digest) -> Markup:
    """Old and new machine code of each swap, side by side."""
    parts = [_comparison(number, found) for number, found in enumerate(digest.comparisons, 1)]
    return join(parts) if parts else tag("p", "No swap, no code to compare.", class_="quiet")


def _comparison(number: int, found: Comparison) -> Markup:
    swap = found.swap
    title = f"{number}. {swap.function}: "
    if found.missing:
        inner: Markup = tag("p", found.missing, class_="quiet")
        sizes = "code not saved"
    else:
        inner = _listing(found.rows)
        sizes = f"{found.old_size} → {found.new_size} bytes" + (", equal code" if found.equal else "")
    summary = tag("summary", title, _levels(swap), tag("span", f" {sizes}", class_="quiet"))
    return tag("details", summary, inner, id=f"swap-{number}", open="open" if number == 1 else None)


def _listing(rows: tuple[Row, ...]) -> Markup:
    body = [
        tag(
            "tr",
            tag("td", f"+{row.old.offset:03x}" if row.old else "", class_="off"),
            tag("td", row.old.text if row.old else "", class_=None if row.equal else "old"),
            tag("td", f"+{row.new.offset:03x}" if row.new else "", class_="off"),
            tag("td", row.new.text if row.new else "", class_=None if row.equal else "new"),
        )
        for row in rows[:MAX_ROWS]
    ]
    more = len(rows) - MAX_ROWS
    note = tag("p", f"{more} more lines are not shown", class_="quiet") if more > 0 else None
    return join(tag("div", tag("table", tag("tbody", body), class_="code"), class_="scroll"), note)


def events(digest: Digest) -> Markup:
    """How many of each type, and the loss account of each source."""
    account = attrgetter("name", "events", "lost", "first", "capacity", "guest_waits", "guest_dropped", "reader_deaths")
    heads = "source|>events|>lost|>first number|>capacity|>guest waited|>guest dropped|>reader found dead"
    gaps = [(loss.ring, loss.first, loss.count) for loss in digest.losses[:MAX_ROWS]]
    return join(
        table("event|>count", digest.overview.types, "no events"),
        tag("h3", "Loss account"),
        table(heads, map(account, digest.sources), "The recorder was killed before it could write its account."),
        table("ring|>first missing number|>events missing", gaps, "No sequence number is missing."),
    )


def ending(digest: Digest) -> Markup:
    """Exception, serial output, and what the trace could not answer."""
    parts: list[Markup] = []
    record = digest.exception
    if record is not None and record.count:
        parts.append(
            tag("p", f"{record.count} exceptions; the last: {record.name} at {_address(record.registers.eip)}")
        )
    text = digest.serial[-MAX_SERIAL:]
    cut = "" if len(text) == len(digest.serial) else f" (the last {MAX_SERIAL:,} characters)"
    parts.append(tag("details", tag("summary", f"COM1 output{cut}"), tag("pre", text)))
    if digest.missing:
        parts.append(tag("h3", "Not in this trace"))
        parts.append(tag("ul", [tag("li", line) for line in digest.missing]))
    return join(parts)


def _levels(swap: Swap) -> Markup:
    return join(_level(swap.from_level), " → ", _level(swap.to_level))


def _level(level: int | None) -> Markup:
    return tag("span", level_name(level), class_=f"level {level_class(level)}")


def _address(value: int) -> str:
    return f"0x{value:08x}" if value else "-"


def _problems(problems: list[str] | tuple[str, ...]) -> Markup | None:
    return tag("ul", [tag("li", problem) for problem in folded(problems)], class_="problems") if problems else None


def _missing() -> Markup:
    return tag("p", "Not in this trace: see the end of the page.", class_="quiet")
