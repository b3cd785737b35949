"""The command line as such: verbs are found, errors are one sentence, exit codes are kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bareflow_gdb.cli import main as cli
from bareflow_gdb.cli.verbs.run import parse_thresholds
from bareflow_gdb.errors import BareflowError, UsageError


def test_every_verb_has_help_and_can_be_configured() -> None:
    text = cli.build_parser().format_help()
    for name in cli.verb_names():
        module = cli.load_verb(name)
        assert module.HELP
        assert module.HELP[0].islower(), f"{name}: help begins in lower case"
        assert not module.HELP.endswith("."), f"{name}: help is no sentence"
        assert name in text


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
        (
            FileNotFoundError(2, "No such file or directory", "x"),
            2,
            "bareflow list: x: No such file or directory\n",
        ),
        (ZeroDivisionError("by zero"), 2, "bareflow list: a defect in bareflow: ZeroDivisionError: by zero"),
    ],
)
def test_whatever_a_verb_raises_becomes_a_sentence_and_a_code(
    raised: BaseException,
    code: int,
    words: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: object) -> int:
        raise raised

    monkeypatch.setattr(cli.load_verb("list"), "main", fail)
    assert cli.main(["list"]) == code
    assert capfd.readouterr().err.startswith(words)


def test_a_closed_pipe_ends_quietly() -> None:
    program = (
        "import sys; from bareflow_gdb.cli import main; v = main.load_verb('list');"
        "v.main = lambda o: print('x' * 100000) or 0; sys.exit(main.main(['list']))"
    )
    shell = f'{sys.executable} -c "$PROGRAM" | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", shell],
        env={"PROGRAM": program, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 141
    assert done.stderr == b""


def test_an_unknown_verb_and_no_verb_exit_with_2() -> None:
    for words in (["no-such-verb"], []):
        with pytest.raises(SystemExit) as left:
            cli.main(words)
        assert left.value.code == 2


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
