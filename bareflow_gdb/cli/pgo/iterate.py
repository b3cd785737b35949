"""`bareflow pgo iterate`: profile, plan, compile, measure, until little is gained; report.json and a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from bareflow_gdb.cli import pgo_words as words
from bareflow_gdb.cli.arguments import count
from bareflow_gdb.errors import UsageError

HELP = "profile, plan, compile and measure in rounds, until little is gained"
OUT = Path("pgo")
ROUNDS, TURNS, GAIN = 5, 10, 2.0
REPORT, PAGE = "report.json", "report.html"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="only these; the others stay as they are")
    words.add_image(parser)
    words.add_thresholds(parser)
    parser.add_argument("--rounds", type=count, default=ROUNDS, metavar="N", help=f"at most N rounds ({ROUNDS})")
    text = f"end when a round gains less than P percent ({GAIN:g})"
    parser.add_argument("--gain", type=float, default=GAIN, metavar="P", help=text)
    text = "what the rounds compare (default instructions); cycles are the host's, under emulation"
    parser.add_argument("--by", choices=("instructions", "cycles"), default="instructions", help=text)
    parser.add_argument("--no-counters", action="store_true", help="by classes alone, not by the counts of blocks")
    text = "also try each module made for the arguments that most of its calls have"
    parser.add_argument("--arguments", action="store_true", help=text)
    text = f"how often each version is measured in its turn, to compare cycles ({TURNS}; 0: instructions only)"
    parser.add_argument("--turns", type=count, default=TURNS, metavar="N", help=text)
    parser.add_argument("--cache", type=Path, default=words.CACHE, metavar="DIR", help=f"the best: ({words.CACHE})")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"for {REPORT}, {PAGE} ({OUT})")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.files import BY_UMASK, write_atomically, writing
    from bareflow_gdb.pgo import cache
    from bareflow_gdb.pgo.iterate import Workshop, iterate
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.pgo import report_record, report_views
    from bareflow_gdb.render.report.document import document_of

    if not 0 <= options.gain <= 100:
        raise UsageError("--gain takes percent, 0 to 100")
    cache.check_place(options.cache)
    limits = words.thresholds(options)
    with writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    with Workshop(words.firmware(options)) as workshop:
        report = iterate(
            workshop,
            limits,
            words.tell,
            only=options.modules,
            by=options.by,
            rounds=options.rounds,
            least_gain=options.gain / 100,
            counters=not options.no_counters,
            arguments=options.arguments,
            turns=options.turns,
        )
        images = {choice.name: workshop.compiler.image(choice) for choice in report.plan.choices}
        cache.write(options.cache, report.plan, images, workshop.compiler)
    record = dumps(report_record(report))
    write_atomically(options.out / REPORT, record + "\n", BY_UMASK)
    write_atomically(options.out / PAGE, document_of("profile-guided optimisation", report_views(report)), BY_UMASK)
    if options.json:
        print(record)
    else:
        for view in report_views(report):
            words.show(view)
        words.tell(f"{REPORT} and {PAGE} are in {options.out}, the best modules in {options.cache}")
    return 0
