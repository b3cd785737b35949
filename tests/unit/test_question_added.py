"""Adding a question takes one file: shell, gdb, help, completion and JSON have it, and the reference asks for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACE = ROOT / "traces" / "swaps-10-20-30"
QUESTION = '''"""How many functions are registered?"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.questions.question import Question
from bareflow_gdb.render.view import View, facts


@dataclass(frozen=True)
class Census:
    """What was counted."""

    functions: int


QUESTION = Question(
    name="census",
    help="how many functions there are",
    example="census",
    ask=lambda context, _: Census(len(context.kernel.slots())),
    view=lambda record: View("Census", facts(("functions", record.functions))),
    verdict=lambda record: record.functions > 100,
    no="there are few",
)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the suite with one file more."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("bareflow_gdb", "gdb_scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "bareflow_gdb" / "questions" / "census.py").write_text(QUESTION)
    return folder


def bareflow(copy: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from bareflow_gdb.cli.main import run; sys.argv[0] = 'bareflow'; run()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), **environment},
        capture_output=True,
        text=True,
    )


def test_the_shell_asks_it_with_text_json_verdict_and_help(copy: Path) -> None:
    shown = bareflow(copy, "census", str(TRACE))
    assert (shown.returncode, shown.stdout) == (1, "Census\n  functions  12\n"), shown.stderr
    assert json.loads(bareflow(copy, "census", "--json", str(TRACE)).stdout) == {"functions": 12}
    assert "\n  census      how many functions there are\n" in bareflow(copy, "--help").stdout
    assert "Exit code 1 when there are few." in bareflow(copy, "census", "--help").stdout


@pytest.mark.parametrize(("shell", "shown"), (("bash", "census"), ("zsh", "census:how many functions there are")))
def test_a_shell_completes_it(copy: Path, tmp_path: Path, shell: str, shown: str) -> None:
    line = "bareflow c"
    answer = tmp_path / "answer"
    bareflow(
        copy,
        _ARGCOMPLETE="1",
        _ARGCOMPLETE_SHELL=shell,
        _ARGCOMPLETE_STDOUT_FILENAME=str(answer),
        COMP_LINE=line,
        COMP_POINT=str(len(line)),
        COMP_TYPE="9",
    )
    assert shown in answer.read_text().split("\v")


def test_gdb_has_the_command(copy: Path) -> None:
    words = ["gdb", "-nx", "-batch", "-x", str(copy / "gdb_scripts" / "bareflow.py")]
    words += ["-ex", "help bf census", "-ex", "complete bf cen", "-ex", "bf census"]
    environment = {**os.environ, "VIRTUAL_ENV": str(ROOT / ".venv"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert "How many functions there are." in done.stdout, done.stderr
    assert "bf census\n" in done.stdout
    assert "bf census: gdb is not connected to a guest" in done.stderr


def test_the_reference_has_to_be_made_again(copy: Path) -> None:
    shutil.copytree(ROOT / "docs", copy / "docs", dirs_exist_ok=True)
    words = [sys.executable, str(copy / "docs" / "make_reference.py"), "--check"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "VIRTUAL_ENV": str(ROOT / ".venv")}
    done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True)
    assert (done.returncode, "is not what the definitions say" in done.stderr) == (1, True), done.stderr
    subprocess.run([*words[:-1]], cwd=copy, env=environment, check=True)
    assert "\n### census\n" in (copy / "docs" / "reference.md").read_text()
