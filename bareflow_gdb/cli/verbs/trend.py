"""`bareflow trend PROFILE|TRACE|DIR …`: each module's cost from build to build, and the builds where it changed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.errors import UsageError

if TYPE_CHECKING:
    from bareflow_gdb.pgo.trend import Change

GROUP = "record"
HELP = "each module's cost from build to build, and the build where it changed"
LIMIT = 5.0


def configure(parser: argparse.ArgumentParser) -> None:
    text = "profiles of `bareflow pgo profile`, serial logs, traces, or a directory of them, in the order of the builds"
    parser.add_argument("builds", nargs="+", type=Path, metavar="BUILD", help=text)
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="P", help=f"percent that a call may cost more ({LIMIT:g})"
    )
    parser.add_argument("--of", choices=("modules", "functions"), default="modules", help="in a serial log (modules)")
    parser.epilog = "Exit code 1 when a module costs more than --limit percent more since a build, and still does."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.pgo.trend import places, trend
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.pgo import trend_view
    from bareflow_gdb.render.text import show

    if not options.limit >= 0:
        raise UsageError("--limit takes percent, 0 or more")
    found = trend(places(options.builds), options.of)
    regressions: dict[str, Change] = {
        module.name: change for module in found.modules if (change := module.regression(options.limit / 100))
    }
    if options.json:
        print(dumps({"trend": found, "regressions": regressions}))
    else:
        print(show(trend_view(found, regressions)))
    return 1 if regressions else 0
