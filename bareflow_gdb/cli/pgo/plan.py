"""`bareflow pgo plan`: how is each module to be compiled, and why?"""

from __future__ import annotations

import argparse
from pathlib import Path

from bareflow_gdb.cli import pgo_words as words

HELP = "put modules into classes by their profile, with reasons"


def configure(parser: argparse.ArgumentParser) -> None:
    text = f"from `pgo profile`, or the guest's JSON or serial log (default {words.PROFILE})"
    parser.add_argument("profile", nargs="?", type=Path, default=words.PROFILE, metavar="PROFILE", help=text)
    words.add_thresholds(parser)
    parser.add_argument("--counters", action="store_true", help="compile hot modules by the counts of their blocks")
    parser.add_argument("--arguments", action="store_true", help="make hot modules for the arguments of most calls")
    parser.add_argument("--of", choices=("modules", "functions"), default="modules", help="in a serial log (modules)")
    parser.add_argument("--out", type=Path, default=words.PLAN, metavar="FILE", help=f"default {words.PLAN}")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.errors import UsageError
    from bareflow_gdb.pgo import plan, profile
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.pgo import plan_view

    found = profile.read(options.profile, options.of)
    if options.counters and not any(cost.counters for cost in found.costs):
        raise UsageError(f"{options.profile} has no counts of blocks; take them with `bareflow pgo profile --counters`")
    if options.arguments and all(cost.arguments is None for cost in found.costs):
        again = "`bareflow pgo profile --counters --arguments`"
        raise UsageError(f"{options.profile} has no arguments of calls; take them with {again}")
    made = plan.make(found, words.thresholds(options), counters=options.counters, arguments=options.arguments)
    made.write(options.out)
    if options.json:
        print(dumps(made.to_json()))
    else:
        words.show(plan_view(made))
        words.tell(f"written to {options.out}")
    return 0
