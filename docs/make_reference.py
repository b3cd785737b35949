"""What are all questions, commands and verbs? Writes docs/reference.md from their own definitions.

    python docs/make_reference.py [--check]        (part of `make docs`)

Questions come from the registry, verbs from their argument parsers, gdb commands from a gdb that has loaded the
suite. The recorded sessions of the page are kept; record.py records them. --check only says whether it is current.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record

from bareflow_gdb.cli import main as cli
from bareflow_gdb.questions import registry
from bareflow_gdb.questions.question import KERNEL, MACHINE, MEMORY, ROOT, TRACE, Question

PAGE = record.ROOT / "docs" / "reference.md"
COMMON = ("--help", "--json", "--debug", "--elf", "target")
"""What every question's verb takes; said once, at the top."""
NEEDS = {
    MEMORY: "guest memory at any moment",
    KERNEL: "a kernel in memory (stock kernels too)",
    ROOT: "a kernel with the debug interface",
    MACHINE: "QEMU or the files that it writes and reads",
    TRACE: "the events of a trace",
}
MARKER = "@@commands@@"
DUMP = f"""python
import json
from bareflow_gdb.gdb_ui.command import COMMON, REGISTRY
print({MARKER!r} + json.dumps([
    [c.name, c.summary, c.details, c.example, [[i.flags, i.usage, i.keywords["help"]] for i in c.arguments]]
    for c in REGISTRY.values()
]))
"""

INTRODUCTION = """# Reference

Made from the commands' own definitions by `make docs`; do not edit it. New here? Begin with the
[tutorial](tutorial.md). Words such as *slot* or *hold* are explained in the [glossary](glossary.md); expressions,
breakpoints by JIT name, windows, editors and scripts in [gdb-facilities.md](gdb-facilities.md).

A question is asked as `bf QUESTION` in gdb and as `bareflow QUESTION [TARGET]` in a shell; the answer is the same.
TARGET is a machine's name (default: the newest), `tcp:HOST:PORT`, `unix:PATH`, or a file recognised by its content:
ELF core, raw dump, trace directory.

| everywhere | |
|---|---|
| `--json` | print the record as JSON |
| `--debug` | when it fails, show the Python traceback too |
| `--elf FILE` | in a shell: the kernel's ELF (default: the one beside the machine's image); gdb has its own |
| `--base ADDRESS` | in a shell: TARGET is a raw dump of memory that begins there (default: by its content, at 0) |

Exit codes: 0 fine, 1 the answer is "no" or has findings, 2 could not look. In gdb they count after
`set bareflow exit-on-error on`.
"""


@dataclass(frozen=True)
class Entry:
    """A question, a command or a verb, with the lines of its section."""

    title: str
    summary: str
    body: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """Where a link to it leads."""
        return f"#{self.title.replace(' ', '-')}"


def page(recorded: dict[str, str]) -> str:
    """The whole reference; `recorded` are the sessions that it shows."""
    questions = [_question(question, recorded) for question in registry.every()]
    commands = [_command(*row, recorded) for row in gdb_commands()]
    verbs = [_verb(name) for name in cli.verb_names() if name not in registry.names()]
    parts = [INTRODUCTION]
    groups = (("Questions", questions), ("Commands of gdb only", commands), ("Verbs of the shell only", verbs))
    for title, entries in groups:
        parts += [f"**{title}:** " + " · ".join(f"[{entry.title}]({entry.anchor})" for entry in entries), ""]
    for title, entries in groups:
        parts += [f"## {title}", ""]
        for entry in entries:
            parts += [f"### {entry.title}", "", f"{entry.summary}.", "", *entry.body]
    return "\n".join(parts).rstrip() + "\n"


def gdb_commands() -> list[list[Any]]:
    """Name, summary, details, example, arguments of each command that is not a question, by name."""
    beside = Path(sys.executable).with_name("gdb")
    gdb = str(beside) if beside.exists() else shutil.which("gdb")
    if gdb is None:
        raise SystemExit("make_reference: there is no gdb to ask for its commands; `make setup` installs one")
    words = [gdb, "-nx", "-batch", "-x", str(record.SCRIPT), "-ex", DUMP]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8")
    found = [line.removeprefix(MARKER) for line in done.stdout.splitlines() if line.startswith(MARKER)]
    if not found:
        raise SystemExit(f"make_reference: {gdb} does not load the suite:\n{done.stderr}")
    return sorted(row for row in json.loads(found[0]) if row[0] not in registry.names())


def _question(question: Question[Any], recorded: dict[str, str]) -> Entry:
    rows = [(item.usage, item.keywords["help"]) for item in question.arguments if _shown(item.keywords["help"])]
    known = {flag for item in question.arguments for flag in item.flags}
    for action in _actions(_parser(question.name)):
        names = {*action.option_strings, action.dest}
        if not names & {*known, *COMMON}:
            rows.append((_usage(action), f"{action.help}; in a shell only"))
    facts = f"Needs {', or '.join(NEEDS[need] for need in question.needs)}."
    if question.no:
        facts += f" Exit code 1 when {question.no}."
    examples = ["```sh", f"bf {question.example}", f"bareflow {question.example}", "```", ""]
    details = [question.details, ""] if question.details else []
    body = (*details, facts, "", *_table(rows), *examples, *_session(question.name, recorded))
    return Entry(question.name, question.help[0].upper() + question.help[1:], body)


def _command(
    name: str, summary: str, details: str, example: str, arguments: list[list[Any]], recorded: dict[str, str]
) -> Entry:
    rows = [(usage, text) for _, usage, text in arguments if _shown(text)]
    paragraphs = [details, ""] if details else []
    body = (*paragraphs, *_table(rows), "```sh", example, "```", "", *_session(name, recorded))
    return Entry(f"bf {name}", summary, body)


def _verb(name: str) -> Entry:
    parser = _parser(name)
    body: list[str] = []
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            # Without the second names of some.
            for word, text in helps.items():
                body += [f"`bareflow {name} {word}`: {text}.", "", *_table(_rows(action.choices[word]))]
    body += [*_table(_rows(parser)), *([parser.epilog, ""] if parser.epilog else [])]
    summary = cli.load_verb(name).help
    return Entry(f"bareflow {name}", summary[0].upper() + summary[1:], tuple(body))


def _parser(name: str) -> argparse.ArgumentParser:
    """The argument parser of a verb."""
    verbs = next(a for a in cli.build_parser(name)._actions if isinstance(a, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = verbs.choices[name]
    return parser


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a verb takes, --help aside."""
    return [action for action in parser._actions if "--help" not in action.option_strings]


def _rows(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """Usage and help of what a verb takes besides what all take."""
    plain = (a for a in _actions(parser) if not isinstance(a, argparse._SubParsersAction))
    return [
        (_usage(action), action.help or "the trace's directory")
        for action in plain
        if _shown(action.help) and not {"--json", "--debug"} & {*action.option_strings}
    ]


def _usage(action: argparse.Action) -> str:
    value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper()
    if action.option_strings:
        return action.option_strings[-1] + ("" if action.nargs == 0 else f" {_joined(value)}")
    return f"[{value}]" if action.nargs == "?" else str(value)


def _joined(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else " ".join(value)


def _shown(text: str | None) -> bool:
    return text != argparse.SUPPRESS


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    lines = ["| `{}` | {} |".format(*(part.replace("|", "\\|") for part in row)) for row in rows]
    if lines:
        yield from ("| argument | |", "|---|---|", *lines, "")


def _session(name: str, recorded: dict[str, str]) -> Iterator[str]:
    """The session of that name, else where the command occurs."""
    if name in record.SESSIONS:
        yield from (f"<!-- session {name} -->", f"{recorded.get(name, '')}<!-- end -->", "")
        return
    for other, session in record.SESSIONS.items():
        shown = other in registry.names() or f"bf {other}" in " ".join(session.commands)
        if shown and any(f"{command} ".startswith(f"bf {name} ") for command in session.commands):
            title = other if other in registry.names() else f"bf-{other}"
            yield from (f"Recorded under [{other}](#{title}).", "")
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the page is not current")
    options = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    new = page(record.recorded(old))
    if options.check:
        if new != old:
            print(f"{PAGE} is not what the definitions say; run `python docs/make_reference.py`", file=sys.stderr)
        return int(new != old)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
