"""What stands in the report's parts about single tables: modules, profile, pools, boot, events, the rest?"""

from __future__ import annotations

from operator import attrgetter

from bareflow_gdb.analysis.digest import Digest
from bareflow_gdb.analysis.second_source import SecondSource
from bareflow_gdb.guest.code.exported import Exported
from bareflow_gdb.render.report.markup import Markup, join, table, tag
from bareflow_gdb.render.report.of_view import part_of, problems
from bareflow_gdb.render.report.pool_picture import pool_picture
from bareflow_gdb.render.report.profile_picture import profile_picture
from bareflow_gdb.render.report.timeline import boot_timeline
from bareflow_gdb.render.report.values import address, level, missing
from bareflow_gdb.render.worth import worth_of

MAX_ROWS = 1000
MAX_SERIAL = 200_000


def boot(digest: Digest) -> Markup:
    """The stages reached."""
    if digest.boot is None:
        return missing()
    record = digest.boot
    words = (
        f"Reached {record.stage}; disk by {record.disk_method.upper()}, A20 {record.a20_method.replace('_', ' ')}, "
        f"{record.sectors_read:,} of {record.sectors_needed:,} sectors read, "
        f"CRC 0x{record.crc_computed:08x} (expected 0x{record.crc_expected:08x})."
    )
    return join(tag("p", words), boot_timeline(record, digest.boot_clock), problems(record.problems))


def pools(digest: Digest) -> Markup:
    """A strip per pool."""
    if digest.pools is None:
        return missing()
    return join(pool_picture(digest.pools), problems(digest.pools.all_problems()))


def modules(digest: Digest) -> Markup:
    """The module manager's records."""
    if digest.modules is None:
        return missing()
    rows = [
        (
            module.name,
            module.source or "-",
            "-" if module.level is None else level(module.level),
            address(module.code),
            module.code_size,
            module.calls,
            module.mean_cycles,
            module.digest,
        )
        for module in digest.modules.modules
    ]
    heads = "module|source|tier|entry|>bytes|>calls|>mean cycles|SHA-256"
    return join(table(heads, rows), problems(digest.modules.all_problems()))


def profile(digest: Digest) -> Markup:
    """What the function profiler counted."""
    if digest.profile is None:
        return missing()
    total = max(1, sum(function.total_cycles for function in digest.profile.functions))
    rows = [
        (
            function.name,
            level(function.level),
            function.calls,
            function.total_cycles,
            f"{100 * function.total_cycles / total:.1f} %",
            function.mean_cycles,
            function.min_cycles,
            function.max_cycles,
        )
        for function in digest.profile.functions
    ]
    heads = "function|tier|>calls|>total cycles|>share|>mean|>shortest|>longest"
    return join(profile_picture(digest.profile), table(heads, rows), problems(digest.profile.problems))


def exported(digest: Digest) -> Markup:
    """What the kernel exported on COM1, compared with memory, or by itself where there is none."""
    return join(_second(found) for found in digest.second)


def _second(found: SecondSource) -> Markup:
    document = found.document
    title = f"{document.heading.capitalize() or 'Export'}: {len(document.rows):,} rows"
    words = "There is nothing in memory to compare it with."
    if found.against:
        words = f"{found.agreed:,} figures agree with the {found.against} in memory"
        words += f", {found.later:,} are of a later moment there." if found.later else "."
    wrong = found.contradictions[:MAX_ROWS]
    return join(
        tag("h3", title),
        tag("p", words),
        tag("p", f"{len(found.contradictions):,} contradict memory; are log and memory of one run?") if wrong else None,
        problems(wrong),
        [tag("p", line, class_="quiet") for line in found.incomplete],
        None if found.against else _rows(document),
    )


def _rows(document: Exported) -> Markup:
    rows = [
        (
            row.name,
            address(row.code_address or 0),
            row.code_size,
            row.calls,
            row.total_cycles,
            row.min_cycles,
            row.max_cycles,
        )
        for row in document.rows[:MAX_ROWS]
    ]
    return table("name|entry|>bytes|>calls|>total cycles|>shortest|>longest", rows)


def worth(digest: Digest) -> Markup:
    """Cycles per call before and after each swap, or why they are not known."""
    return part_of(worth_of(digest.swaps, MAX_ROWS)) if digest.swaps else missing()


def events(digest: Digest) -> Markup:
    """How many of each type, and the loss account of each source."""
    account = attrgetter(
        *("name", "events", "left_out", "lost", "missed", "first", "capacity"),
        *("guest_waits", "guest_dropped", "reader_deaths", "confidence"),
    )
    heads = (
        "source|>events|>left out|>lost|>swaps missed|>first number|>capacity|"
        ">guest waited|>guest dropped|>reader found dead|what they are worth"
    )
    gaps = [(loss.ring, loss.first, loss.count) for loss in digest.losses[:MAX_ROWS]]
    return join(
        table("event|>count", digest.overview.types if digest.overview else (), "no events"),
        tag("h3", "Loss account"),
        table(heads, map(account, digest.accounts), "The recorder was killed before it could write its account."),
        table("ring|>first missing number|>events missing", gaps, "No sequence number is missing."),
    )


def printed(digest: Digest) -> Markup:
    """The end of the serial output."""
    if digest.serial is None:
        return missing()
    text = digest.serial.text[-MAX_SERIAL:]
    whole = len(text) == len(digest.serial.text) and not digest.serial.lost
    cut = "" if whole else f" (the last {len(text):,} characters)"
    return tag("details", tag("summary", f"COM1 output{cut}"), tag("pre", text))


def ending(digest: Digest, unanswered: tuple[str, ...]) -> Markup:
    """What the sources could not answer, and how what they answered was found."""
    lines = (*digest.missing, *unanswered)
    return join(
        tag("ul", [tag("li", line) for line in lines]) if lines else tag("p", "Nothing is missing.", class_="quiet"),
        [tag("p", line, class_="quiet") for line in digest.provenance],
    )
