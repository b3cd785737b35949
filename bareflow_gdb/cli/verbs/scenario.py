"""`bareflow scenario`: chooses what a guest's run does, before it begins, or ends one that does not end by itself."""

from __future__ import annotations

import argparse
import json
import sys

from bareflow_gdb.cli.arguments import add_target
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.scenario import NAMES, STOP

GROUP = "do"
HELP = "choose what a held guest's run does, or stop a scenario that runs"


def configure(parser: argparse.ArgumentParser) -> None:
    words = (*NAMES, STOP)
    parser.add_argument("scenario", choices=words, metavar="|".join(words), help="the scenario, or stop")
    add_target(parser)
    parser.epilog = "Exit code 1 when the run has begun already, or there is nothing to stop."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.guest import scenario
    from bareflow_gdb.guest.boot.stopped import stopped_machine
    from bareflow_gdb.guest.guest import Guest
    from bareflow_gdb.render.jsonable import to_json

    target = open_target(options.target)
    memory = target.memory
    if not memory.live:
        raise UsageError(f"{target.description} does not run; a scenario is chosen in a running machine")
    root = Guest.attach(memory).kernel().need_interface("it has no scenarios")
    if options.scenario == STOP:
        record = scenario.stop(memory, root, lambda: not stopped_machine(memory))
    else:
        record = scenario.choose(memory, root, options.scenario)
    if options.json:
        print(json.dumps(to_json(record), indent=2))
    else:
        text = f"scenario {record.scenario}, stage {record.stage}: {record.message}"
        print(text if record.done else f"bareflow scenario: {text}", file=sys.stdout if record.done else sys.stderr)
    return 0 if record.done else 1
