"""`bareflow events`: the events of a trace, or the last ones of a guest's rings; or SQL over a trace."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from bareflow_gdb import foreign
from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.guest.code.events import Event
    from bareflow_gdb.tracing.store import Trace

GROUP = "record"
HELP = "events of a trace or of a guest's rings, or SQL over a trace"
LAST = 100


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    add_target(parser, dumps=True)
    parser.add_argument("--type", action="append", metavar="T", help="only this type; may be repeated")
    parser.add_argument("--last", type=int, default=LAST, metavar="N", help=f"only the last N of them (default {LAST})")
    parser.add_argument(
        "--sql",
        metavar="QUERY",
        help="tables: events, types, functions, modules (DuckDB); a second column NAME is NAME_1",
    )
    parser.epilog = "Exit code 1 when there is no such event, or the query has no rows."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import asked_target

    if options.last < 0:
        raise UsageError("--last takes a count that is not negative")
    target = asked_target(options)
    if options.sql is not None:
        if target.trace is None:
            raise UsageError(f"{target.description} is not a trace; `bareflow trace record` makes one")
        return _sql(options, target.trace)
    events, names = _events(options, target)
    if options.json:
        print(json.dumps([_record(event) for event in events], indent=2))
    else:
        if not events:
            print(_nothing(options, target))
            return 1
        start = events[0].tsc
        print(f"{'cycles':>16}  ring  type, arguments; cycle 0 is the first event shown, at {start:,}")
        for event in events:
            print(f"{event.tsc - start:>16,}  {event.ring:>4}  {event.type:<16}{words(event, names)}")
    return 0 if events else 1


def _events(options: argparse.Namespace, target: Target) -> tuple[list[Event], Callable[[str, int], str]]:
    if target.trace is not None:
        from bareflow_gdb.tracing.events import decode

        trace: Trace = target.trace
        found = trace.events(*(options.type or ()))
        return list(decode(found[max(0, len(found) - options.last) :])), _names_of_trace(trace)
    from bareflow_gdb.abi.events import BY_NAME
    from bareflow_gdb.guest.base.absent import if_it_has
    from bareflow_gdb.guest.base.reading import optional
    from bareflow_gdb.guest.guest import Guest

    unknown = [name for name in options.type or () if name not in BY_NAME]
    if unknown:
        raise UsageError(f"there is no event type {unknown[0]!r}; the types are {', '.join(sorted(BY_NAME))}")
    kernel = Guest.attach(target.memory).kernel()
    chosen = kernel.events(max(options.last, 1), frozenset(options.type) if options.type else None)
    missing = list(kernel.unknown)
    functions = optional(kernel.functions, missing) or ()
    modules = optional(lambda: if_it_has(kernel.modules), missing)
    known = {
        "function": [function.name for function in functions],
        "module": [module.name for module in modules.modules] if modules else [],
    }
    for sentence in missing:
        print(f"bareflow events: {sentence}", file=sys.stderr)
    return chosen[max(0, len(chosen) - options.last) :], _names(known)


def _nothing(options: argparse.Namespace, target: Target) -> str:
    """Why there are no lines."""
    if options.last == 0:
        return "no events: --last 0 asks for none"
    where = f"{target.description} has" if target.trace is not None else f"the rings of {target.description} hold"
    if not options.type:
        return f"{where} no events"
    return f"{where} no events of type {' or '.join(options.type)}; without --type the last of all types are shown"


def _names_of_trace(trace: Trace) -> Callable[[str, int], str]:
    return _names({"function": list(trace.manifest.functions), "module": list(trace.manifest.modules)})


def _names(known: dict[str, list[str]]) -> Callable[[str, int], str]:
    def name(kind: str, index: int) -> str:
        listed = known.get(kind, [])
        return listed[index] if 0 <= index < len(listed) else str(index)

    return name


def words(event: Event, name: Callable[[str, int], str]) -> str:
    """The arguments of one event: addresses in hexadecimal, enum values and indices by name."""
    from bareflow_gdb.abi.events import ADDRESSES, ENUMS
    from bareflow_gdb.guest.base.values import word

    def shown(field: str, value: int) -> str:
        if field in ENUMS:
            return word(ENUMS[field], value)
        if field in ADDRESSES or field == "crc":
            return f"0x{value:08x}"
        return name(field, value)

    return "  ".join(f"{field}={shown(field, value)}" for field, value in event.fields().items())


def _record(event: Event) -> dict[str, Any]:
    return {
        "tsc": event.tsc,
        "ring": event.ring,
        "seq": event.seq,
        "type": event.type,
        "cpu": event.cpu,
        "id": event.id,
        "fields": event.fields(),
    }


def _sql(options: argparse.Namespace, trace: Trace) -> int:
    answer = trace.sql(options.sql)
    rows: list[dict[str, Any]] = answer.to_pylist()
    if options.json:
        print(json.dumps(rows, indent=2, default=str))
    else:
        print(_grid(answer.schema.names, ([str(value) for value in row.values()] for row in rows)))
    return 0 if rows else 1


def _grid(heads: list[str], rows: Iterable[list[str]]) -> str:
    listed = [[foreign.printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*listed, fillvalue="")]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in listed
    )
