"""`bareflow trace record | info | verify | recover | diff | agree | list | convert | pack`: traces of machines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.cli import signals, trace_files
from bareflow_gdb.cli.arguments import add_machine, add_shared, count
from bareflow_gdb.errors import BareflowError, CannotWrite, UsageError
from bareflow_gdb.files import share
from bareflow_gdb.render.suggest import shell
from bareflow_gdb.tracing.limits import CODE_LIMITS, CodeLimits

if TYPE_CHECKING:
    from bareflow_gdb.tracing.recorder import Progress, Recorder
    from bareflow_gdb.tracing.store import Trace

GROUP = "record"
HELP = "record what a running machine does; show, verify, compare, convert, pack a trace"

LINE_SECONDS = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Exit code 1 when events were lost or swaps missed, what a filter asked for did not come, `verify` finds "
        "damage, `diff` a change, `agree` a contradiction, or `list` no trace."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    record = actions.add_parser("record", help="record a running machine into a new directory")
    add_machine(record)
    record.add_argument("--machine", metavar="NAME", help="the same as MACHINE")
    record.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty directory")
    record.add_argument("--until-idle", action="store_true", help="end when the guest's run has ended")
    record.add_argument("--seconds", type=float, metavar="N", help="end after N seconds")
    record.add_argument(
        "--release",
        action="store_true",
        help="let a guest begin that was started with --hold, a stock one with --paused",
    )
    record.add_argument(
        "--source",
        choices=("ring", "tables", "watch"),
        help="the event ring; the kernel's tables, polled without a stop; or a stop at each swap, by write watchpoints"
        " (default: ring, of a stock kernel watch, where a gdb is connected tables)",
    )
    record.add_argument("--flight", action="store_true", help="never make the guest wait; may lose events")
    record.add_argument(
        "--calls",
        action="store_true",
        help="also calls: the first of each version, and one in so many as the kernel samples",
    )
    record.add_argument(
        "--type", action="append", default=[], metavar="T", help="from now on only this type; may be repeated"
    )
    record.add_argument(
        "--function",
        action="append",
        default=[],
        metavar="NAME",
        help="keep only what this function or module does, and what belongs to none; may be repeated",
    )
    record.add_argument(
        "--after-call",
        type=_call,
        default=("", 0),
        metavar="NAME:N",
        help="keep only what comes from the Nth call of a function on, and exceptions",
    )
    record.add_argument(
        "--around-exception",
        type=count,
        default=0,
        metavar="N",
        help="keep only exceptions, and N events of each ring before and after each of them",
    )
    record.add_argument(
        "--code-versions",
        type=count,
        default=CODE_LIMITS.versions,
        metavar="N",
        help=f"keep the code of N versions at most (default {CODE_LIMITS.versions})",
    )
    record.add_argument(
        "--code-bytes",
        type=count,
        default=CODE_LIMITS.total_bytes,
        metavar="N",
        help=f"keep N bytes of code at most (default {CODE_LIMITS.total_bytes})",
    )
    show = actions.add_parser("info", aliases=["show"], help="what a trace holds")
    show.add_argument("directory", type=Path, metavar="TRACE")
    verify = actions.add_parser("verify", help="read all of a trace, and say what is damaged or missing")
    verify.add_argument("directory", type=Path, metavar="TRACE")
    recover = actions.add_parser("recover", help="complete the trace of a recorder that was killed")
    recover.add_argument("directory", type=Path, metavar="TRACE")
    diff = actions.add_parser("diff", help="what changed from one run, or build, to another")
    diff.add_argument("directory", type=Path, metavar="A", help="the trace before")
    diff.add_argument("other", type=Path, metavar="B", help="the trace after")
    agree = actions.add_parser("agree", help="do two traces of one run, by different sources, tell the same swaps?")
    agree.add_argument("directory", type=Path, metavar="A")
    agree.add_argument("other", type=Path, metavar="B")
    files = trace_files.configure(actions)
    add_shared(record, "the trace")
    for action in (record, show, verify, recover, diff, agree, *files):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        action.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")


def _call(text: str) -> tuple[str, int]:
    """NAME:N, a function and the number of one of its calls."""
    name, colon, number = text.rpartition(":")
    if not (name and colon and number.isascii() and number.isdecimal() and int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a function and a call of it, like primes:1000")
    return name, int(number)


def main(options: argparse.Namespace) -> int:
    actions = {
        "record": _record,
        "info": _show,
        "show": _show,
        "verify": _verify,
        "recover": _recover,
        "diff": _diff,
        "agree": _agree,
        "list": trace_files.list_traces,
        "convert": trace_files.convert,
        "ctf": trace_files.convert,
        "pack": trace_files.pack,
    }
    return actions[options.action](options)


def _record(options: argparse.Namespace) -> int:
    from bareflow_gdb.qemu.machine import Machine
    from bareflow_gdb.tracing.filters import Filter
    from bareflow_gdb.tracing.recorder import Recorder
    from bareflow_gdb.tracing.ring import Asked

    if options.seconds is not None and options.seconds < 0:
        raise UsageError("--seconds takes a number that is not negative")
    if options.machine and options.target and options.machine != options.target:
        raise UsageError(f"two machines are named, {options.target} and {options.machine}; name one")
    machine = Machine.find(options.machine or options.target)
    limits = CodeLimits(options.code_versions, options.code_bytes)
    asked = Asked(tuple(options.type), ("call",) if options.calls else ())
    after, calls = options.after_call
    wanted = Filter(tuple(options.function), after, calls, options.around_exception)
    with signals.noted() as stopped:
        recorder = Recorder(
            machine,
            options.out,
            lossless=not options.flight,
            code_limits=limits,
            asked=asked,
            source=options.source or "",
            wanted=wanted,
            stopped=stopped,
        )
        try:
            with recorder:
                if options.release:
                    recorder.release_hold()
                waits = "; it is paused, and --release would let it begin" if recorder.waits else ""
                _say(
                    options, f"recording {machine.name} into {options.out} by {recorder.source}{waits}; Ctrl-C ends it"
                )
                _run(options, recorder, stopped)
        except CannotWrite as error:
            if not recorder.kept:
                raise
            kept = f"what was recorded is kept, `{shell('bareflow', 'trace', 'recover', options.out)}` completes it"
            raise BareflowError(f"{error}; {kept}") from error
    if options.shared:
        share(options.out)
    return _tell(options, options.out)


def _run(options: argparse.Namespace, recorder: Recorder, stopped: Callable[[], bool]) -> None:
    """Records with a line of progress: rewritten on a terminal, now and then a new one elsewhere."""
    rewrite = sys.stderr.isatty()
    shown = 0.0

    def show(line: str) -> None:
        text, end = (f"\r{line}\x1b[K", "") if rewrite else (line, "\n")
        # A terminal that was closed must not end the recording.
        with suppress(OSError):
            print(text, end=end, file=sys.stderr, flush=True)

    def progress(now: Progress) -> None:
        nonlocal shown
        if now.seconds - shown >= (0.1 if rewrite else LINE_SECONDS):
            shown = now.seconds
            missed = f" ({now.missed:,} missed)" if now.missed else ""
            left_out = f"  {now.left_out:,} left out" if now.left_out else ""
            counts = f"{now.events:,} events{left_out}  {now.lost:,} lost  {now.swaps} swaps{missed}"
            show(f"{now.seconds:6.1f} s  {counts}  {now.stage}")

    recorder.run(until_idle=options.until_idle, seconds=options.seconds, stopped=stopped, progress=progress)
    recorder.finish(lambda segments: show(f"completing the trace: {segments} segments to write"))
    if rewrite:
        with suppress(OSError):
            print(file=sys.stderr)


def _say(options: argparse.Namespace, line: str) -> None:
    with suppress(OSError):
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)


def _show(options: argparse.Namespace) -> int:
    return _tell(options, options.directory)


def _verify(options: argparse.Namespace) -> int:
    from bareflow_gdb.analysis.integrity import verify
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import show
    from bareflow_gdb.render.view import View, table, yes
    from bareflow_gdb.tracing.store import Trace

    parts = verify(Trace.open(options.directory))
    good = all(part.good for part in parts)
    if options.json:
        print(dumps({"good": good, "parts": parts}))
    else:
        rows = [
            (part.name, yes(part.good, "good", "WRONG"), "; ".join((part.read, *part.problems)).strip("; "))
            for part in parts
        ]
        print(show(View(f"Trace {options.directory}", parts=(table("part||what", rows),))))
    return 0 if good else 1


def _recover(options: argparse.Namespace) -> int:
    from bareflow_gdb.tracing.store import recover

    recovered = recover(options.directory)
    _say(options, f"{recovered:,} events recovered from the journal")
    return _tell(options, options.directory)


def _diff(options: argparse.Namespace) -> int:
    from bareflow_gdb.analysis.trace_diff import compare
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import show
    from bareflow_gdb.render.trace_diff import view
    from bareflow_gdb.tracing.store import Trace

    found = compare(Trace.open(options.directory), Trace.open(options.other))
    print(dumps(found) if options.json else show(view(found)))
    return 1 if found.changed else 0


def _agree(options: argparse.Namespace) -> int:
    from bareflow_gdb.analysis.same_run import same_run
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.tracing.store import Trace

    found = same_run(Trace.open(options.directory), Trace.open(options.other))
    if options.json:
        print(dumps(found))
        return 0 if found.agree else 1
    for line in found.contradictions:
        print(f"contradiction: {line}")
    print(f"{'they agree' if found.agree else 'they do not agree'}: {found.agreed:,} swaps are told alike")
    for side in found.sides:
        missed = f", {side.untold:,} only by the other; {side.missed:,} missed by its own account"
        print(f"  {side.source:<7} {side.swaps:,} swaps{missed if side.untold or side.missed else ''}  {side.trace}")
    return 0 if found.agree else 1


def _tell(options: argparse.Namespace, directory: Path) -> int:
    from bareflow_gdb.analysis.overview import overview
    from bareflow_gdb.analysis.swaps import trace_swaps
    from bareflow_gdb.render.jsonable import to_json
    from bareflow_gdb.tracing.store import Trace

    trace = Trace.open(directory)
    found = overview(trace, trace_swaps(trace))
    status = 1 if found.lost or found.missed or found.unmet else 0
    if options.json:
        print(json.dumps(to_json(found), indent=2))
        return status
    print(f"trace {directory}: {_ending(trace)}")
    print(f"  guest      {found.variant} {found.build_id[:12] or 'without build id'}, machine {found.machine}")
    print(f"  clock      {found.clock}")
    for source in found.sources if found.seen_from_outside else ():
        print(f"  source     {source.name}: {source.confidence}")
    print(f"  events     {found.events:,} ({found.lost:,} lost) in {found.span}")
    if found.only:
        print(f"  asked for  {', '.join(found.only)}; other types are those that the ring held before")
    if found.filter:
        print(f"  kept       {'; '.join(found.filter)}: {found.left_out:,} events are left out")
    for sentence in found.unmet:
        print(f"  NOT MET    {sentence}")
    print(f"  functions  {', '.join(found.functions) or 'none'}")
    missed = f"; {found.missed:,} more are counted by the guest's tables, and no event shows them"
    print(f"  swaps      {found.swaps}{missed if found.missed else ''}")
    left_out = f"; {found.code_left_out:,} left out, more than the recorder was to keep" if found.code_left_out else ""
    print(f"  code       {found.code_saved} of {found.versions} versions{left_out}")
    for kind, number in found.types:
        print(f"  {number:>12,}  {kind}")
    return status


def _ending(trace: Trace) -> str:
    manifest = trace.manifest
    if trace.recorded_now:
        return "still recording; the events are readable as far as it has come"
    if not manifest.complete:
        why = f"its recording ended early, {manifest.ended}" if manifest.ended else "its recorder was killed"
        return f"{why}; the events are readable as far as it came"
    missing = f"; {trace.missing:,} of its events are in none of its files: copy it again" if trace.missing else ""
    return f"recorded {manifest.started} for {manifest.seconds:.1f} s, ended: {manifest.ended}{missing}"
