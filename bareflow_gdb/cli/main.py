"""How is `bareflow VERB [--json] [TARGET]` run? Finds the verb, runs it, turns errors into a sentence.

Exit codes: 0 fine, 1 the answer is "no" or has findings, 2 could not look; 130 and 141 as shells use them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from bareflow_gdb.cli import verbs
from bareflow_gdb.errors import BareflowError

COULD_NOT = 2
INTERRUPTED = 130
PIPE_CLOSED = 141


def verb_names() -> list[str]:
    """The words that may follow `bareflow`: the files of cli/verbs, with - for _."""
    return sorted(item.name.replace("_", "-") for item in pkgutil.iter_modules(verbs.__path__))


def load_verb(name: str) -> ModuleType:
    """The module of one verb."""
    return importlib.import_module(f"{verbs.__name__}.{name.replace('-', '_')}")


class VerbParser(argparse.ArgumentParser):
    """A verb's words; options may stand between FUNCTION and TARGET, which argparse alone does not take.

    With a default for `passed_on` what follows `--` is another program's, and goes there.
    """

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.get_default("passed_on") is not None and "--" in args:
            cut = args.index("--")
            args, namespace = args[:cut], argparse.Namespace(passed_on=args[cut + 1 :])
        if self._mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The whole command line; with `only` just that verb, so that no other one is imported."""
    parser = argparse.ArgumentParser(
        prog="bareflow",
        description="Observes and drives BareFlow unikernels: running machines, cores, dumps, traces.",
        epilog="Exit codes: 0 fine, 1 the answer is no or has findings, 2 could not look.",
    )
    choices = parser.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=VerbParser)
    for name in [only] if only else verb_names():
        module = load_verb(name)
        # A verb may define --json anew, for instance with another help text.
        child = choices.add_parser(
            name, help=module.HELP, description=module.HELP, conflict_handler="resolve"
        )
        child.add_argument("--json", action="store_true", help="print the records as JSON")
        child.add_argument("--debug", action="store_true", help="show the Python traceback of an error")
        module.configure(child)
        child.set_defaults(run_verb=module.main)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    first = words[0] if words else ""
    debug = "--debug" in words
    try:
        options = build_parser(first if first in verb_names() else None).parse_args(words)
        code = int(options.run_verb(options) or 0)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("bareflow: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end: give it something that takes the bytes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except BareflowError as error:
        return _complain(first, str(error), debug)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(first, f"{where}{error.strerror or error}", debug)
    except Exception as error:  # noqa: BLE001 - the one place where a defect of ours becomes a sentence
        return _complain(
            first, f"a defect in bareflow: {type(error).__name__}: {error}; --debug shows where", debug
        )
    return code


def _complain(verb: str, sentence: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"bareflow {verb}: {sentence}", file=sys.stderr)
    return COULD_NOT


def run() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
