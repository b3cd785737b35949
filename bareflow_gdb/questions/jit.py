"""Which functions does the adaptive JIT know, and which versions of each?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.guest.base.control import ALLOW, FORCE, VETO
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.being_published import BEING_PUBLISHED
from bareflow_gdb.questions.question import Question, argument
from bareflow_gdb.render.view import (
    Cell,
    View,
    address,
    controlled,
    facts,
    level_now,
    published,
    publishing,
    result,
    spoken,
    table,
    unread,
    version,
    yes,
)

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.jit import Jit, JitFunction


def _view(record: Jit) -> View:
    """Functions, then every version."""
    rows = [_jit_row(f) for f in record.functions]
    vetoed = [f.name for f in record.functions if f.control == VETO]
    head = facts(
        ("adaptive JIT", yes(record.enabled, "on", "off")),
        ("functions", f"{record.count} of at most {record.capacity}"),
        ("thresholds", " / ".join(f"{n:,}" for n in record.thresholds)),
        *((("tiers", "the application asks for them"),) if record.asks == "application" else ()),
        ("swaps", published(record.swap_count, record.version_count, record.counted_by)),
        *publishing(record.publishing),
        *controlled(record.under_way, vetoed, record.publishing),
        *(("from the host", _replaced(f)) for f in record.functions if f.replaced),
        *unread(record.unread),
    )
    versions = [
        (
            f.name,
            version(v.number),
            f"O{v.level}",
            Cell(v.state, "good" if v.state == "published" else ""),
            spoken(v.reason),
            spoken(v.provider),
            address(v.code),
            v.code_size,
            address(v.entry),
            f"equals #{v.same_as}" if v.same_as else "-",
        )
        for f in record.functions
        for v in f.versions
    ]
    columns = ">~#|function|tier|version|>calls|>~next at|~slot|current code|table|~control|~mailbox|>last result"
    if record.functions and not versions:
        second = table("function|O0|O1|O2|O3", [_tier_row(f) for f in record.functions], "Compiled code")
    else:
        names = "function|version|tier|state|reason|~provider|code|>bytes|~entry|~same code"
        second = table(names, versions, "Versions")
    return View("Adaptive JIT", head, (table(columns, rows), second), record.problems)


def _jit_row(f: JitFunction) -> tuple[str | int | Cell | None, ...]:
    return (
        str(f.index),
        f.name,
        level_now(f.level, f.publishing),
        version(f.version),
        f.calls,
        _next(f),
        address(f.slot),
        address(f.current_code),
        _agreement(f),
        _control(f),
        spoken(f.mail_state) or "-",
        result(f.last_result, f.expected),
    )


def _replaced(f: JitFunction) -> str:
    name = code_name(f.name, f.level, f.version)
    return f"{name} in place of 0x{f.replaced:08x}; `swap rollback {f.name}` takes it back"


def _control(f: JitFunction) -> str:
    """What the control word asks for."""
    if f.control in ("", ALLOW):
        return "-"
    if f.control == VETO:
        return VETO
    return f"{spoken(f.control)} {'O' if f.control == FORCE else '#'}{f.control_argument}"


def _next(f: JitFunction) -> int | Cell | None:
    """A threshold asks once, at that call: one that has gone by comes no more."""
    due = f.next_threshold
    if due is None or f.calls <= due:
        return due
    wanted = f.control == VETO or any(v.number == f.version and v.chosen for v in f.versions)
    return Cell(f"{due:,} passed", "" if wanted else "bad")


def _agreement(f: JitFunction) -> str | Cell:
    """Of the code pointer with the records."""
    if f.publishing is not None:
        return BEING_PUBLISHED
    return yes(f.agrees, "agrees", "differs") if f.agrees is not None else "not read"


def _tier_row(f: JitFunction) -> tuple[str | Cell, ...]:
    return (f.name, *(address(code) for code in f.level_codes))


QUESTION = Question(
    name="jit",
    help="functions of the adaptive JIT: tier, calls, thresholds, versions, control words",
    example="jit",
    arguments=(
        argument("--all", action="store_true", help="every version, where that costs more than ten packets too"),
    ),
    ask=lambda context, options: context.kernel.jit(every=options.all),
    view=_view,
    verdict=lambda record: not record.problems,
    no="code pointers and tables contradict one another",
)
