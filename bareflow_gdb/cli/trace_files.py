"""`bareflow trace list | convert | ctf | pack`: traces as files, and as files of other tools."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.analysis.exports.formats import FORMATS
from bareflow_gdb.cli.arguments import add_shared
from bareflow_gdb.files import share
from bareflow_gdb.render.suggest import shell

if TYPE_CHECKING:
    from bareflow_gdb.tracing.store import Trace

CTF = "ctf"
_TIMED = ("perfetto", "speedscope", "jsonl", "jitdump")


def configure(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """Adds the actions; returns their parsers."""
    listed = actions.add_parser("list", help="the traces in a folder")
    listed.add_argument("directory", type=Path, nargs="?", default=Path(), metavar="DIR", help="default: this one")
    convert = actions.add_parser("convert", help="write a trace in the format of another tool")
    convert.add_argument("directory", type=Path, metavar="TRACE")
    convert.add_argument("--to", required=True, choices=FORMATS, help="which one")
    convert.add_argument("--out", type=Path, required=True, metavar="FILE", help="of CTF a new or empty directory")
    convert.formatter_class = argparse.RawDescriptionHelpFormatter
    convert.epilog = "\n".join(f"{name:<12}{one.reader.format('FILE')}" for name, one in FORMATS.items())
    ctf = actions.add_parser(CTF, help="convert a trace for babeltrace2 and Trace Compass (CTF 1.8)")
    ctf.add_argument("directory", type=Path, metavar="TRACE")
    ctf.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty directory")
    pack = actions.add_parser("pack", help="put a trace into one file, to send it; `tar -xf` takes it out")
    pack.add_argument("directory", type=Path, metavar="TRACE")
    pack.add_argument("--out", type=Path, required=True, metavar="FILE", help="a tar file, compressed with gzip")
    add_shared(convert, "the files")
    add_shared(ctf, "the files")
    add_shared(pack, "the file")
    return [listed, convert, ctf, pack]


def list_traces(options: argparse.Namespace) -> int:
    """Which are there? Only their manifests are read."""
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import show
    from bareflow_gdb.render.view import View, cell, number, table
    from bareflow_gdb.tracing.store import found_in

    found = found_in(options.directory)
    if options.json:
        print(dumps([{"trace": str(path), "manifest": one, "problem": why} for path, one, why in found]))
        return 0 if found else 1
    rows = []
    for path, one, why in found:
        if one is None:
            rows.append((path.name, *[None] * 5, cell(why)))
            continue
        events, lost = (sum(getattr(source, what) for source in one.sources) for what in ("events", "lost"))
        counted = (events, lost) if one.complete else (None, None)
        ended = f"complete, {one.ended}" if one.complete else "not complete"
        rows.append((path.name, one.machine, one.started, number(one.seconds), *counted, cell(ended)))
    heads = "trace|machine|started|>seconds|>events|>lost|"
    print(show(View(f"Traces in {options.directory}", parts=(table(heads, rows),))))
    return 0 if found else 1


def convert(options: argparse.Namespace) -> int:
    """Writes the trace in another format."""
    from bareflow_gdb.tracing.store import Trace, changing

    name = CTF if options.action == CTF else options.to
    format_ = FORMATS[name]
    with changing(options.directory, options.out):
        trace = Trace.open(options.directory)
        written = format_.export(trace, options.out)
    if options.shared:
        share(options.out)
    if options.json:
        where = "directory" if name == CTF else "file"
        print(json.dumps({where: str(options.out), format_.counts.replace(" ", "_"): written}))
        return 0
    print(f"{written:,} {format_.counts} in {options.out}; {format_.reader.format(shell(options.out))}")
    if name in _TIMED and _no_time(trace):
        print(f"its clock counts {_no_time(trace)}: one is shown as a nanosecond")
    return 0


def _no_time(trace: Trace) -> str:
    return "instructions" if trace.manifest.clock == "icount" else "" if trace.manifest.tsc_hz else "cycles"


def pack(options: argparse.Namespace) -> int:
    """Puts the trace into one file."""
    from bareflow_gdb.tracing.packed import pack

    size = pack(options.directory, options.out)
    if options.shared:
        share(options.out)
    if options.json:
        print(json.dumps({"file": str(options.out), "bytes": size}))
    else:
        print(f"{size:,} bytes in {options.out}; take the trace out with `{shell('tar', '-xf', options.out)}`")
    return 0
