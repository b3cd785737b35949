"""How does a function become a `bf` command, with arguments, help, completion, and its way to text or JSON?

A command is a function `(options, session) -> record`; what it returns is printed by `show`, or as JSON with
`--json`. Progress goes through `session.say`, which is silent with `--json`. Questions become commands in ask.py.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import gdb

from bareflow_gdb import libraries
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import sentence, styled
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.completers import offered
from bareflow_gdb.gdb_ui.expression import COLOUR
from bareflow_gdb.gdb_ui.show import in_charset, say, shown
from bareflow_gdb.guest.base.answer import Answer
from bareflow_gdb.questions.question import Argument, argument

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

Run = Callable[[argparse.Namespace, "Session"], Any]


EXIT_NO = 1
EXIT_COULD_NOT_LOOK = 2


COMMON = (
    argument("--json", action="store_true", help="print the record as JSON, as `bareflow VERB --json` does"),
    argument("--debug", action="store_true", help="when it fails, show the Python traceback too"),
)


@dataclass(frozen=True)
class Command:
    """A `bf` command: `run` makes a record, or an answer with its provenance; `show` makes its text.

    `verdict` says whether the answer is yes.
    """

    name: str
    summary: str
    details: str
    example: str
    arguments: tuple[Argument, ...]
    run: Run
    show: Callable[[Any], str] | None
    verdict: Callable[[Any], bool] | None

    @property
    def help(self) -> str:
        """The text of `help bf NAME`; its first line is what `help bf` lists."""
        lines = [f"{self.summary}."]
        if self.details:
            lines += ["", self.details]
        shown = [item for item in (*self.arguments, *COMMON) if item.keywords["help"] is not argparse.SUPPRESS]
        usage = " ".join(item.usage for item in shown)
        lines += ["", f"Usage: bf {self.name} {usage}"]
        for item in shown:
            lines.append(f"  {', '.join(item.flags):<12} {item.keywords['help']}")
        lines += ["", f"Example: {self.example}"]
        return "\n".join(lines)

    def parse(self, text: str) -> argparse.Namespace:
        """Raises UsageError."""
        parser = _Parser(prog=f"bf {self.name}", add_help=False)
        for item in (*self.arguments, *COMMON):
            parser.add_argument(*item.flags, **item.keywords)
        return parser.parse_args(gdb.string_to_argv(text))

    def complete(self, text: str, word: str, session: Session) -> list[str]:
        """Options, their choices, and guest names; nothing at all when the guest cannot be asked."""
        *before, token = text.split(" ")
        previous = before[-1] if before else ""
        try:
            found = self._candidates(previous, token, session)
        except (BareflowError, gdb.error):
            return []
        # gdb breaks words at "-" too: it wants back only what follows the last break.
        skip = len(token) - len(word)
        return [name[skip:] for name in found if name.startswith(token)]

    def _candidates(self, previous: str, token: str, session: Session) -> list[str]:
        options = [item for item in (*self.arguments, *COMMON) if item.is_option]
        for item in options:
            if previous in item.flags and "choices" in item.keywords:
                return [str(value) for value in item.keywords["choices"]]
        if token.startswith("-"):
            return [flag for item in options for flag in item.flags]
        found: list[str] = []
        for item in self.arguments:
            if not item.is_option:
                found += [str(value) for value in item.keywords.get("choices", ())]
                found += offered(item.names, session) if item.names else ()
        return found


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of ending gdb."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `help {self.prog}`")


REGISTRY: dict[str, Command] = {}


def command(
    name: str,
    *,
    example: str,
    needs: Callable[[Session], object] | None = None,
    arguments: tuple[Argument, ...] = (),
    show: Callable[[Any], str] | None = None,
    verdict: Callable[[Any], bool] | None = None,
) -> Callable[[Run], Run]:
    """Makes the decorated function the command `bf NAME`; its docstring is the help text.

    `needs` raises BareflowError when the command makes no sense now, as Session.require_stopped does.
    """

    def register(run: Run) -> Run:
        summary, _, details = (run.__doc__ or name).partition("\n\n")
        details = "\n".join(line.strip() for line in details.strip().splitlines())
        summary = " ".join(summary.split()).rstrip(".")

        def checked(options: argparse.Namespace, session: Session) -> Any:
            if needs is not None:
                needs(session)
            return run(options, session)

        REGISTRY[name] = Command(name, summary, details, example, arguments, checked, show, verdict)
        return run

    return register


class GdbCommand(gdb.Command):
    """gdb's side of a command: errors become one line and leave gdb usable."""

    def __init__(self, prefix: str, definition: Command, current: Callable[[], Session]) -> None:
        self.__doc__ = in_charset(definition.help)
        self.definition = definition
        self.current = current
        super().__init__(f"{prefix} {definition.name}", gdb.COMMAND_DATA)

    def invoke(self, text: str, from_tty: bool) -> None:
        debug = "--debug" in text.split()
        try:
            yes = self._run(text, typed=from_tty)
        except KeyboardInterrupt:
            fail(f"bf {self.definition.name}: interrupted; gdb and the guest are as they are now", EXIT_NO)
        except (BareflowError, gdb.error) as error:
            if debug:
                say(traceback.format_exc(), end="")
            fail(f"bf {self.definition.name}: {_one_sentence(error)}", EXIT_COULD_NOT_LOOK)
        except Exception as error:  # noqa: BLE001 - the one place where a defect of ours becomes a sentence
            if debug:
                say(traceback.format_exc(), end="")
            defect = f"a defect in bareflow: {type(error).__name__}: {error}; --debug shows where"
            sentence = libraries.culprit(error) or defect
            fail(f"bf {self.definition.name}: {' '.join(sentence.split())}", EXIT_COULD_NOT_LOOK)
        if not yes and gdb.parameter("bareflow exit-on-error"):
            _quit(EXIT_NO)

    def _run(self, text: str, *, typed: bool) -> bool:
        options = self.definition.parse(text)
        session = self.current()
        session.quiet = options.json
        session.catch_up()
        session.compare_memory()
        made = self.definition.run(options, session)
        if made is None:
            return True
        answer = made if isinstance(made, Answer) else Answer(made)
        if options.json:
            from bareflow_gdb.render.jsonable import dumps_answer

            say(dumps_answer(answer))
        elif self.definition.show is not None:
            say(styled("\n".join((self.definition.show(answer.record), *answer.lines()))))
        session.let_go(foreground=typed and running.attended())
        return self.definition.verdict is None or self.definition.verdict(answer.record)

    def complete(self, text: str, word: str | None) -> list[str]:
        # gdb first asks with word None where the word begins.
        return self.definition.complete(text, word or "", self.current())


def _one_sentence(error: Exception) -> str:
    # gdb 18 puts colours into its messages, also where there is no terminal.
    return sentence(COLOUR.sub("", str(error))) or type(error).__name__


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with one line; ends gdb too when `set bareflow exit-on-error on` asked for that."""
    if gdb.parameter("bareflow exit-on-error"):
        gdb.write(shown(message) + "\n", gdb.STDERR)
        gdb.flush(gdb.STDERR)
        _quit(code)
    raise gdb.GdbError(in_charset(message))


def _quit(code: int) -> None:
    gdb.execute("set confirm off")
    gdb.execute(f"quit {code:d}")
