"""`bareflow events`: the events of a trace, or the last ones of a guest's rings; or SQL over a trace."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator
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
FITTED = 10_000
"""So many rows of a query decide how wide its columns are shown."""


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    add_target(parser, dumps=True)
    parser.add_argument("--type", action="append", metavar="T", help="only this type; may be repeated")
    parser.add_argument("--last", type=int, default=LAST, metavar="N", help=f"only the last N of them (default {LAST})")
    parser.add_argument(
        "--sql",
        metavar="QUERY",
        help="one SELECT over events, types, functions, modules, sources (DuckDB); a second column NAME is NAME_1",
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
    first = next(events, None)
    if options.json:
        sources = _sources(target)
        return 0 if print_list(sources(event.ring) | _record(event) for event in _with(first, events)) else 1
    if first is None:
        print(_nothing(options, target))
        return 1
    unit = "ns" if target.trace is not None and target.trace.manifest.seen_from_outside else "cycles"
    zero = "0 is" if unit == "ns" else "cycle 0 is"
    print(f"{unit:>16}  ring  type, arguments; {zero} the first event shown, at {first.tsc:,}")
    for event in _with(first, events):
        print(f"{event.tsc - first.tsc:>16,}  {event.ring:>4}  {event.type:<16}{words(event, names)}")
    return 0


def _with(first: Event | None, others: Iterator[Event]) -> Iterator[Event]:
    return others if first is None else itertools.chain((first,), others)


def _events(options: argparse.Namespace, target: Target) -> tuple[Iterator[Event], Callable[[str, int], str]]:
    if target.trace is not None:
        from bareflow_gdb.tracing.events import decode

        trace: Trace = target.trace
        found = trace.last(options.last, *(options.type or ()))
        return decode(found), _names_of_trace(trace)
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
    return iter(chosen[max(0, len(chosen) - options.last) :]), _names(known)


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
    from bareflow_gdb.guest.code.events import as_word

    fields = event.fields().items()
    return "  ".join(f"{field}={as_word(field, value) or name(field, value)}" for field, value in fields)


def _sources(target: Target) -> Callable[[int], dict[str, Any]]:
    """What is told of where an event comes from, by its ring: source, clock, confidence."""
    from bareflow_gdb.tracing.manifest import WRITTEN

    machine = target.machine
    clock = "" if machine is None else "tsc" if machine.icount is None else "icount"
    listed = target.trace.manifest.sources if target.trace is not None else ()
    known = {source.ring: (source.name, source.clock, source.confidence) for source in listed}

    def told(ring: int) -> dict[str, Any]:
        name, its_clock, confidence = known.get(ring, (f"ring {ring}", clock, WRITTEN))
        return {"source": name, "clock": its_clock, "confidence": confidence}

    return told


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
    from bareflow_gdb.tracing.sql import answer

    with answer(trace, options.sql) as reader:
        rows = (row for batch in reader for row in batch.to_pylist())
        if options.json:
            return 0 if print_list(rows) else 1
        cells = ([str(value) for value in row.values()] for row in rows)
        return 0 if _print_grid(reader.schema.names, cells) else 1


def print_list(records: Iterable[dict[str, Any]]) -> int:
    """Prints a JSON list as it comes, never all of it in memory; returns how many there were."""
    count = 0
    for count, record in enumerate(records, start=1):
        text = json.dumps(record, indent=2, default=str)
        print("[\n" if count == 1 else ",\n", end="")
        print("\n".join(f"  {line}" for line in text.splitlines()), end="")
    print("\n]" if count else "[]")
    return count


def _print_grid(heads: list[str], rows: Iterator[list[str]]) -> int:
    """Prints a table as it comes, as wide as its first rows need; returns how many there were."""
    start = [[foreign.printable(cell) for cell in row] for row in (heads, *itertools.islice(rows, FITTED))]
    widths = [max(map(len, column)) for column in zip(*start, strict=True)]
    count = -1
    for row in itertools.chain(start, ([foreign.printable(cell) for cell in row] for row in rows)):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        count += 1
    return count
