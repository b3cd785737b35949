"""A guest and a trace with names that are more than names: every question answers with harmless text, JSON and HTML.

Questions come from the registry, verbs from the command line's own list, so a new one is asked without a change here.
"""

from __future__ import annotations

import contextlib
import html.parser
from pathlib import Path

import pytest
import trace_maker
from asking import ask, text_of
from fake_guest import ROOT, Bytes, FakeGuest
from hostile_names import CALLS, CANARY, HARMFUL, HOSTILE
from interrogation import GIVEN, REGISTERS

from bareflow_gdb import foreign
from bareflow_gdb.cli.main import main, verb_names
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.questions import registry
from bareflow_gdb.render.jsonable import dumps_answer

FIELD = 32


def guest_named(name: bytes) -> Bytes:
    """The function and module `alpha`, wherever the guest keeps its name, under another one."""
    memory = FakeGuest().build()
    memory.ram = bytearray(bytes(memory.ram).replace(b"alpha".ljust(FIELD - 1, b"\0"), name.ljust(FIELD - 1, b"\0")))
    return memory


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("question", registry.names())
def test_every_question_shows_hostile_names_harmlessly(
    question: str, name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    guest = Guest.attach(guest_named(name), {"bareflow_root": ROOT})
    guest.memory.cpu = lambda: REGISTERS  # type: ignore[method-assign]
    shown = foreign.clean(name)
    asked = GIVEN.get(question, [{}])
    words = [{key: shown if value == "alpha" else value for key, value in given.items()} for given in asked]
    for given in (*asked, *words):
        try:
            answer = ask(guest, question, **given)
        except BareflowError as error:
            assert str(error).isprintable()
            continue
        coloured = text_of(question, answer.record, color=True)
        assert not HARMFUL.search(text_of(question, answer.record))
        assert not HARMFUL.search(foreign._STYLE.sub("", coloured))
        assert not HARMFUL.search(dumps_answer(answer))
    assert not list(tmp_path.iterdir())


def test_the_fake_guest_really_has_such_names() -> None:
    guest = Guest.attach(guest_named(b"\x1b[31mred"), {"bareflow_root": ROOT})
    assert "?[31mred" in text_of("jit", ask(guest, "jit").record)
    assert "?[31mred" in text_of("modules", ask(guest, "modules").record)


NAMES = tuple(name.decode("latin-1") for name in HOSTILE)


@pytest.fixture
def hostile_trace(tmp_path: Path) -> Path:
    words = {key: NAMES[0] + NAMES[len(CALLS) + 3] + NAMES[-2] for key in ("machine", "started", "ended", "build_id")}
    serial = "\n".join(NAMES)
    return trace_maker.make(
        tmp_path / "trace",
        [trace_maker.batch(trace_maker.SWAP)],
        serial=serial,
        functions=NAMES,
        modules=NAMES,
        **words,
    )


ASKED = (
    *(question.example.split() for question in registry.every()),
    ["events"],
    ["events", "--sql", "select number, name from functions"],
    ["events", "--sql", 'select name as "a\x1b[31m" from modules'],
    ["events", "--sql", "select nothing\x1b[31m"],
)


@pytest.mark.parametrize("words", ASKED, ids=lambda words: " ".join(words).replace("\x1b", "ESC"))
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_every_verb_shows_a_hostile_trace_harmlessly(
    words: list[str], json: list[str], hostile_trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*words, *json, str(hostile_trace)])
    _harmless(capsys)


@pytest.mark.parametrize("action", ["show", "recover", "ctf"])
def test_the_trace_verb_too(
    action: str, hostile_trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")] if action == "ctf" else []
    main(["trace", action, str(hostile_trace), *out])
    _harmless(capsys)
    for file in (tmp_path / "out").glob("metadata"):
        assert not HARMFUL.search(file.read_text())


def test_every_verb_says_in_one_harmless_line_that_a_target_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in verb_names():
        if verb not in ("demo", "completion", "gdb", "build", "compiler", "run", "doctor", "list", "wait", "stop"):
            with contextlib.suppress(SystemExit):
                main([verb, str(tmp_path / "not\x1b[31mthere\n/x")])
            assert not HARMFUL.search(capsys.readouterr().err.replace("\n", ""))


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_report_of_a_hostile_trace_has_no_markup_of_the_guest(
    hostile_trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    main(["report", str(hostile_trace), "--out", str(page)])
    _harmless(capsys)
    text = page.read_text()
    tags = _Tags()
    tags.feed(text)
    # Of its own it has one with data, and one that draws it.
    assert tags.found.count("script") == 2 and "img" not in tags.found and "&lt;script&gt;" in text
    assert not HARMFUL.search(text)


def _harmless(capsys: pytest.CaptureFixture[str]) -> None:
    said = capsys.readouterr()
    assert not HARMFUL.search(said.out), said.out
    assert not HARMFUL.search(said.err), said.err
    assert said.out or said.err
    assert not list(Path.cwd().glob(f"{CANARY}*"))
