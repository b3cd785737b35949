"""The command line as such: verbs are found, errors are one sentence, exit codes are kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bareflow_gdb.cli import main as cli
from bareflow_gdb.cli.ask import place_words
from bareflow_gdb.cli.verbs import list as list_verb
from bareflow_gdb.cli.verbs.run import parse_thresholds
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.questions import registry


def test_every_verb_has_help_and_can_be_configured() -> None:
    text = cli.build_parser().format_help()
    for name in cli.verb_names():
        verb = cli.load_verb(name)
        assert verb.group in cli.GROUPS
        assert verb.help
        assert not verb.help.endswith("."), f"{name}: help is not a sentence"
        assert f"\n  {name} " in text


def test_only_the_verb_that_is_asked_for_is_imported() -> None:
    program = (
        "import sys; from bareflow_gdb.cli import main; main.main(['list']);"
        "verbs = [n for n in sys.modules if n.startswith('bareflow_gdb.cli.verbs.')];"
        "sys.exit(verbs != ['bareflow_gdb.cli.verbs.list'])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_an_error_is_one_sentence_and_exit_code_2(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["run", "--image", str(tmp_path / "none.img")]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("bareflow run: ")
    assert "make firmware" in captured.err


def test_debug_shows_where_an_error_came_from(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["run", "--debug", "--image", str(tmp_path / "none.img")]) == 2
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (BareflowError("a sentence"), 2, "bareflow list: a sentence\n"),
        (KeyboardInterrupt(), 130, "bareflow: interrupted\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "bareflow list: x: No such file or directory\n"),
        (ZeroDivisionError("by zero"), 2, "bareflow list: a defect in bareflow: ZeroDivisionError: by zero"),
    ],
)
def test_whatever_a_verb_raises_becomes_a_sentence_and_a_code(
    raised: BaseException, code: int, words: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> int:
        raise raised

    monkeypatch.setattr(list_verb, "main", fail)
    assert cli.main(["list"]) == code
    assert capfd.readouterr().err.startswith(words)


def test_a_closed_pipe_ends_quietly() -> None:
    program = (
        "import sys; from bareflow_gdb.cli import main; from bareflow_gdb.cli.verbs import list as v;"
        "v.main = lambda o: print('x' * 100000) or 0; sys.exit(main.main(['list']))"
    )
    shell = f'{sys.executable} -c "$PROGRAM" | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", shell], env={"PROGRAM": program, "PATH": "/usr/bin:/bin"}, capture_output=True, check=False
    )
    assert done.returncode == 141
    assert done.stderr == b""


def test_an_unknown_verb_and_no_verb_exit_with_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stauts"]) == 2
    assert capfd.readouterr().err == "bareflow: there is no verb 'stauts'; did you mean status?\n"
    with pytest.raises(SystemExit) as left:
        cli.main([])
    assert left.value.code == 2


def test_an_unknown_option_shows_the_verbs_own_usage(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["pools", "--no-such-option"])
    assert left.value.code == 2
    assert "usage: bareflow pools " in capfd.readouterr().err


def test_a_tier_that_does_not_exist_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["recompile", "primes", "--tier", "O9"])
    assert left.value.code == 2
    assert "invalid choice: 'O9' (choose from" in capfd.readouterr().err


@pytest.mark.parametrize("level", ["9", "-1", "two", "O3", "03"])
def test_a_level_that_does_not_exist_is_refused_by_its_own_name(level: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recompile", "primes", f"--level={level}"]) == 2
    assert f"there is no level {level!r}; levels are 0 to 3" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["--name", ""], ["--name="], ["--wait", ""], ["--thresholds="], ["--disk", ""]])
def test_an_empty_value_is_not_taken_for_none(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--image", "/nowhere/fluid.img", *words]) == 2
    assert f"the value of {words[0].rstrip('=')} is empty" in capfd.readouterr().err


def test_an_empty_word_is_not_taken_for_none(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stop", ""]) == 2
    assert "a word of the line is empty; write it out, or leave it out" in capfd.readouterr().err
    # What follows `--` is another program's.
    assert cli._check_words(["gdb", "vm1", "--", "-ex", ""]) is None


def test_optional_words_go_to_the_argument_that_takes_them() -> None:
    def placed(*words: str) -> tuple[object, ...]:
        options = cli.build_parser(words[0]).parse_args(words)
        question = registry.load(words[0])
        place_words(question, options)
        return (*(getattr(options, item.dest) for item in question.arguments if not item.is_option), options.target)

    assert placed("pools") == (None, None)
    assert placed("pools", "code") == ("code", None)
    assert placed("pools", "demo") == (None, "demo")
    assert placed("pools", "data", "demo") == ("data", "demo")
    assert placed("fat") == ("list", None, None)
    assert placed("fat", "demo") == ("list", None, "demo")
    assert placed("fat", "list", "demo") == ("list", None, "demo")
    assert placed("fat", "cat", "A.TXT", "demo") == ("cat", "A.TXT", "demo")
    with pytest.raises(UsageError, match="one word too many"):
        placed("pools", "one", "two")


def test_list_without_machines_answers_no(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 1
    assert "no machine is running" in capfd.readouterr().out
    assert cli.main(["list", "--json"]) == 1
    assert capfd.readouterr().out == "[]\n"


def test_thresholds_are_three_growing_numbers() -> None:
    assert parse_thresholds("7,70,700") == (7, 70, 700)
    for text in ("7,70", "7,7,7", "0,1,2", "a,b,c", "7;70;700", f"1,2,{1 << 32}"):
        with pytest.raises(UsageError, match="write three growing numbers"):
            parse_thresholds(text)
