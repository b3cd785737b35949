"""`bareflow serve`: answers every compile request of a running guest until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys

from bareflow_gdb.cli.signals import noted
from bareflow_gdb.errors import BareflowError, ReadError

GROUP = "do"
HELP = "compile what a running guest asks for, until Ctrl-C"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target
    from bareflow_gdb.cli.verbs.recompile import add_no_verify

    add_no_verify(parser)
    add_target(parser)
    parser.epilog = (
        "Up to three functions are compiled at the same time, the requests of one function in their order. A request "
        "that cannot be answered is refused, the others go on. When there is much to tell, lines are left out and "
        "counted."
    )


class _Answers:
    """Standard output. A disk that is full under it is no reason to leave the guest without its host."""

    def __init__(self) -> None:
        self.lost = False
        """Was there one that could not be written?"""

    def write(self, line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            if not self.lost:
                told = f"answers cannot be written ({error.strerror}); the guest is served on"
                print(told, file=sys.stderr, flush=True)
            self.lost = True


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.pace import Pace
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.cli.verbs.recompile import open_service
    from bareflow_gdb.render.jsonable import to_json
    from bareflow_gdb.render.outcome import outcome

    target = open_target(options.target)
    served = 0
    say = Pace(lambda line: print(line, file=sys.stderr, flush=True), lambda count: f"(lines left out: {count:,})")
    answers = _Answers()
    tell = Pace(
        answers.write,
        lambda count: json.dumps({"left_out": count}) if options.json else f"({count:,} answers are left out)",
    )
    with open_service(target, say, verify=options.verify) as service:
        if not service.serving:
            raise BareflowError(f"another process serves {target.description} already; end that one first")
        names = ", ".join(function.name for function in service.functions()) or "no functions yet"
        print(f"serving {target.description} ({names}); Ctrl-C ends it", file=sys.stderr, flush=True)
        try:
            # A job in the background starts with SIGINT ignored, and one interrupt must suffice.
            with noted((signal.SIGINT,)) as stopped:
                for record in service.serve(stopped):
                    served += 1
                    tell(json.dumps(to_json(record)) if options.json else outcome(record))
            print(_answered(served), file=sys.stderr)
        except ReadError:
            if target.machine is None or target.machine.alive():
                raise
            print(f"{target.description} has ended; {_answered(served)}", file=sys.stderr)
    return 2 if answers.lost else 0


def _answered(served: int) -> str:
    return f"{served:,} request{'' if served == 1 else 's'} answered"
