"""`bareflow compiler`: recompiles what a program asks for, one JSON line for each question and answer.

The suite inside gdb keeps one, so that LLVM is warm from its second `bf recompile` on. It serves the guest's
mailbox only while it answers, so that `bareflow serve` can do so in between.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import BareflowError, UsageError

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.recompile.compilers import Compilers

GROUP = "do"
HELP = "for programs: recompile what is asked for on standard input, a JSON line for each answer"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    add_target(parser)
    parser.epilog = (
        'A question: {"function": "primes", "level": 3}, with "called": false not to wait for the first call, '
        '"verify": false as --no-verify of `bareflow recompile`. An answer: as `bareflow recompile --json`, or {"error": "one sentence"}. Ends at the end of input.'
    )


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.recompile.compilers import Compilers

    target = open_target(options.target)
    with Compilers() as compilers:
        for line in sys.stdin:
            try:
                answer = _answer(target, compilers, line)
            except BareflowError as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)
    return 0


def _answer(target: Target, compilers: Compilers, line: str) -> Any:
    from bareflow_gdb.cli.verbs.recompile import open_service
    from bareflow_gdb.render.jsonable import to_json

    try:
        question = json.loads(line)
        function, level = str(question["function"]), int(question["level"])
        called, verify = bool(question.get("called", True)), bool(question.get("verify", True))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f'this is not a question ({error!r}); ask as {{"function": "primes", "level": 3}}') from error
    with open_service(target, compilers=compilers, verify=verify) as service:
        return to_json(service.request(function, level, called=called))
