"""How is `bareflow VERB [--json] [TARGET]` run? Finds the verb, runs it, turns errors into a sentence.

Exit codes: 0 fine, 1 the answer is "no" or has findings, 2 could not look; 141 and 128 + N, for signal N, as shells use
them.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import importlib
import importlib.util
import os
import pkgutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from bareflow_gdb import foreign, libraries
from bareflow_gdb.cli import signals, streams, verbs
from bareflow_gdb.errors import BareflowError, CannotWrite, UsageError
from bareflow_gdb.questions import registry

COULD_NOT = 2
SIGNALLED = 128
PIPE_CLOSED = 141

GROUPS = {
    "look": "Questions to a machine, a core, a dump or a trace",
    "do": "Machines, and what is done to them",
    "record": "Traces and reports",
    "build": "What a kernel carries",
}


@dataclass(frozen=True)
class Verb:
    """One word that may follow `bareflow`."""

    name: str
    group: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds its words."""
    main: Callable[[argparse.Namespace], int]


def verb_names() -> list[str]:
    """The words that may follow `bareflow`: the files of cli/verbs, with - for _, and the questions."""
    own = {item.name.replace("_", "-") for item in pkgutil.iter_modules(verbs.__path__)}
    return sorted(own | set(registry.names()))


@cache
def load_verb(name: str) -> Verb:
    """One verb; a file of cli/verbs may add to a question of that name."""
    module_name = f"{verbs.__name__}.{name.replace('-', '_')}"
    if importlib.util.find_spec(module_name) is None:
        from bareflow_gdb.cli import ask

        question = registry.load(name)
        return Verb(name, "look", question.help, partial(ask.configure, question), partial(ask.main, question))
    module = importlib.import_module(module_name)
    # Looked up when it runs: this answer is kept, and the module may have got another `main` since.
    return Verb(name, module.GROUP, module.HELP, module.configure, lambda options: module.main(options))


class VerbParser(argparse.ArgumentParser):
    """A verb's words; options may stand between FUNCTION and TARGET, which argparse alone does not take.

    With a default for `passed_on` what follows `--` is another program's, and goes there.
    """

    _mixing = False

    def error(self, message: str) -> NoReturn:
        super().error(foreign.sentence(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse's own would drop an OSError, and --help into a full output would seem to have worked.
        (file or sys.stderr).write(message)

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
    parser = VerbParser(
        prog="bareflow",
        usage="bareflow VERB [options] [TARGET]",
        description="Observes and drives BareFlow unikernels: running machines, cores, dumps, traces.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    loaded = [load_verb(name) for name in ([only] if only else verb_names())]
    parser.epilog = "\n".join((*_listed(loaded), _LAST_WORDS))
    choices = parser.add_subparsers(
        dest="verb", prog="bareflow", required=True, parser_class=VerbParser, help=argparse.SUPPRESS
    )
    for verb in loaded:
        # A verb may define --json again, for instance with another help text.
        child = choices.add_parser(verb.name, help=verb.help, description=verb.help, conflict_handler="resolve")
        child.add_argument("--json", action="store_true", help="print the records as JSON")
        child.add_argument("--debug", action="store_true", help="show the Python traceback of an error")
        child.set_defaults(verb_parser=child, run_verb=verb.main)
        verb.configure(child)
    return parser


_LAST_WORDS = """
`bareflow VERB --help` explains a verb; `bareflow completion bash|zsh|fish` completes them in a shell.
TARGET is a machine's name (default: the newest), tcp:HOST:PORT, unix:PATH, or a file recognised by its content.
Exit codes: 0 fine, 1 the answer is no or has findings, 2 could not look."""


def _listed(loaded: Sequence[Verb]) -> list[str]:
    lines: list[str] = []
    for group, title in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {verb.name:<12}{verb.help}" for verb in loaded if verb.group == group]
    return lines[1:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    first = words[0] if words else ""
    debug = "--debug" in words
    known = verb_names()
    if first and not first.startswith("-") and first not in known:
        near = difflib.get_close_matches(first, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`bareflow --help` lists them"
        _say(f"bareflow: there is no verb {first!r}; {hint}")
        return COULD_NOT
    try:
        _check_words(words)
        options = _parsed(first if first in known else None, words)
        code = int(options.run_verb(options) or 0)
        sys.stdout.flush()
    except KeyboardInterrupt as error:
        _say("bareflow: interrupted")
        return SIGNALLED + (error.number if isinstance(error, signals.Ended) else signal.SIGINT)
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except BareflowError as error:
        return _complain(first, str(error), debug)
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            # Files are written by files.py, which names them.
            _drop_output()
            return _complain(first, str(CannotWrite(Path("the output"), error)), debug)
        where = f"{error.filename}: " if error.filename else ""
        return _complain(first, f"{where}{error.strerror or error}", debug)
    except Exception as error:  # noqa: BLE001 - the one place where a defect of ours becomes a sentence
        defect = f"a defect in bareflow: {type(error).__name__}: {error}; --debug shows where"
        return _complain(first, libraries.culprit(error) or defect, debug)
    return code


def _check_words(words: list[str]) -> None:
    """An empty word is a shell variable that was not set: never the same as no word. Raises UsageError."""
    ours = words[: words.index("--")] if "--" in words else words
    for before, word in pairwise(["", *ours]):
        option = word[:-1] if word.startswith("--") and word.endswith("=") else before
        if option is not before or not word:
            what = f"the value of {option}" if option.startswith("--") else "a word of the line"
            raise UsageError(f"{what} is empty; write it out, or leave it out")


def _parsed(verb: str | None, words: list[str]) -> argparse.Namespace:
    try:
        options, rest = build_parser(verb).parse_known_args(words)
        if rest:
            options.verb_parser.error(f"unrecognized arguments: {' '.join(rest)}")
    except SystemExit:
        # After --help: what cannot be written fails here, where it is told.
        sys.stdout.flush()
        raise
    return options


def _drop_output() -> None:
    """The interpreter flushes stdout once more at its end: gives it something that takes the bytes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(verb: str, sentence: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    _say(f"bareflow {verb}: {foreign.sentence(sentence)}")
    return COULD_NOT


def _say(sentence: str) -> None:
    # The exit code tells it where nobody takes the sentence.
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def run() -> None:
    """The console script."""
    streams.prepare()
    libraries.own_first()
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    signals.tidy_up()
    sys.exit(main())


def _complete() -> None:
    """Answers a shell that asks how a line goes on, and ends."""
    import argcomplete

    words = os.environ.get("COMP_LINE", "").split()
    argcomplete.autocomplete(build_parser(words[1] if len(words) > 1 and words[1] in verb_names() else None))


if __name__ == "__main__":
    run()
