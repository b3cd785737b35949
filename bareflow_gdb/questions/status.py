"""Where is the guest, what is wrong, what next?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bareflow_gdb.guest.base.absent import TORN_DOWN
from bareflow_gdb.questions.question import MEMORY, Context, Options, Question
from bareflow_gdb.render.view import (
    Cell,
    View,
    controlled,
    facts,
    level_now,
    published,
    publishing,
    result,
    table,
    version,
)

if TYPE_CHECKING:
    from bareflow_gdb.guest.status import Status


def _ask(context: Context, _: Options) -> Status:
    """What the kernel says of itself, and what the checks say of it: those that cost no packet."""
    from bareflow_gdb.checks import registry

    status = context.kernel.status()
    # Notes are told by `checks`: here they would differ with what each source can look at.
    found = tuple(one for one in registry.run(context.subject(), cheap=True).findings if one.bad)
    new = [one for one in found if not any(told.startswith(one.what) for told in status.problems)]
    if not new:
        return replace(status, findings=found)
    problems = (*status.problems, *map(str, new))
    next_step = status.next_step if status.problems or not new[0].next_step else new[0].next_step
    return replace(status, ok=False, problems=problems, next_step=next_step, findings=found)


def _view(record: Status) -> View:
    """One screen."""
    build = f"{record.variant}, debug interface {record.abi}, build {record.build_id[:12]}"
    head = facts(
        ("stage", Cell(record.came_to, "good" if record.ok else "bad")),
        ("kernel", build if record.abi else _without_interface(record)),
        ("thresholds", " / ".join(f"{n:,}" for n in record.thresholds) if record.thresholds else None),
        (
            "swaps",
            published(record.swap_count, record.version_count or 0, record.counted_by)
            if record.swap_count is not None
            else None,
        ),
        *publishing(record.publishing),
        *controlled(record.under_way, record.vetoed, record.publishing),
        (
            "pools",
            ", ".join(
                f"{p.kind} {_share(p.used, p.size)}{f', {TORN_DOWN}' if p.torn_down else ''}" for p in record.pools
            )
            or None,
        ),
        ("rings", ", ".join(f"{r.index}: {r.events:,} events, {r.mode}" for r in record.rings) or None),
        ("mailbox", (", ".join(record.mail) or "nothing open") if record.abi else None),
        ("model", record.model or None),
        (
            "exception",
            Cell(f"{record.exception} at 0x{record.exception_eip:08x}", "bad")
            if record.exception
            else "none"
            if record.abi
            else None,
        ),
    )
    begun = {swap.function: swap for swap in record.publishing}
    rows = [
        (
            f.name,
            level_now(f.level, begun.get(f.name)),
            version(f.version),
            result(f.last_result, f.expected),
            f.expected,
        )
        for f in record.functions
    ]
    parts = (table("function|tier|version|>last result|>expected", rows),) if rows else ()
    return View("Status", head, parts, record.problems, (f"next: {record.next_step}",))


def _share(used: int, size: int) -> str:
    return f"{used:,} of {size:,} ({100 * used // size}%)" if size else f"{used:,}"


def _without_interface(record: Status) -> Cell:
    if record.variant:
        return Cell(f"{record.variant}, no debug interface")
    return Cell("no root descriptor found", "bad")


QUESTION = Question(
    name="status",
    help="where the guest is, what is wrong with it, what to do next",
    details="Works at every moment, also before a kernel is in memory.",
    example="status",
    needs=(MEMORY,),
    ask=_ask,
    view=_view,
    verdict=lambda record: record.ok,
    no="something is wrong",
)
