"""`bareflow report TRACE`: the digest of a trace as a self-contained HTML page, and as text."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bareflow_gdb.cli.arguments import add_shared

GROUP = "record"
HELP = "make a report (HTML, text) of a trace"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, metavar="TRACE", help="trace directory")
    parser.add_argument("--out", type=Path, metavar="FILE", help="HTML file (default: TRACE/report.html)")
    parser.add_argument("--text", type=Path, metavar="FILE", help="also write the text summary to a file")
    add_shared(parser, "the files")
    parser.epilog = "Exit code 1 when something is wrong: events lost, log and ring differ, a bad header, …"


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.analysis.digest import tell, verdicts
    from bareflow_gdb.files import share, write_atomically
    from bareflow_gdb.render.report.page import page
    from bareflow_gdb.render.report.summary import summary
    from bareflow_gdb.tracing.store import Trace, changing

    digest = tell(Trace.open(options.directory))
    out: Path = options.out or options.directory / "report.html"
    text = summary(digest)
    files = {out: page(digest), **({options.text: text} if options.text is not None else {})}
    with changing(options.directory, *files):
        for path, content in files.items():
            write_atomically(path, content)
            if options.shared:
                share(path)
    found = verdicts(digest)
    if options.json:
        findings = [{"kind": verdict.kind, "finding": verdict.text} for verdict in found]
        print(json.dumps({"report": str(out), "findings": findings}, indent=2))
    else:
        print(text, end="")
        print(f"report: {out}")
    return 1 if any(verdict.kind == "bad" for verdict in found) else 0
