"""`bareflow compiler`: recompiles what a program asks for, one JSON line for each question and answer.

The suite inside gdb keeps one, so that LLVM is warm from its second `bf recompile` on. It serves the guest's
mailbox only while it answers, so that `bareflow serve` can do so in between.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.recompile.recipe import CPU

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.recompile.compilers import Compilers

GROUP = "do"
HELP = "for programs: recompile what is asked for on standard input, a JSON line for each answer"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    add_target(parser)
    parser.epilog = (
        'A question: {"function": "primes", "level": 3}, with "called": false not to wait for the first call, and what '
        '`bareflow recompile` has as options: "verify": false, "from", "entry", "passes", "cpu", "keep", '
        '"profile", "specialise", "calls", "seconds". '
        'An answer: as `bareflow recompile --json`, or {"error": "one sentence"}, with "lines" when clang said more. '
        "Ends at the end of input."
    )


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.recompile.compilers import Compilers
    from bareflow_gdb.recompile.source import DoesNotCompile

    target = open_target(options.target)
    with Compilers() as compilers:
        for line in sys.stdin:
            try:
                answer = _answer(target, compilers, line)
            except DoesNotCompile as error:
                answer = {"error": str(error), "lines": error.lines}
            except BareflowError as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)
    return 0


def _answer(target: Target, compilers: Compilers, line: str) -> Any:
    from bareflow_gdb.cli.verbs.recompile import counting_of, recipe_of, recompiled
    from bareflow_gdb.render.jsonable import to_json

    try:
        question = json.loads(line)
        function, level = str(question["function"]), int(question["level"])
        called, verify = bool(question.get("called", True)), bool(question.get("verify", True))
        path, kept = str(question.get("from", "")), str(question.get("keep", ""))
        calls, seconds = question.get("calls"), question.get("seconds")
        wanted = calls and int(calls), seconds and float(seconds)
        counted = {what: bool(question.get(what, False)) for what in ("profile", "specialise")}
        way = {word: str(question.get(word, usual)) for word, usual in (("entry", ""), ("passes", ""), ("cpu", CPU))}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f'this is not a question ({error!r}); ask as {{"function": "primes", "level": 3}}') from error
    recipe, _ = recipe_of(Path(path) if path else None, **way)
    return to_json(
        recompiled(
            target,
            function,
            level,
            recipe,
            called=called,
            verify=verify,
            compilers=compilers,
            keep=Path(kept) if kept else None,
            counting=counting_of(*wanted, **counted),
        )
    )
