"""The program in a locale that is not UTF-8, and without its standard streams: it answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import locales
import pytest
from machines import SECONDS

from bareflow_gdb.qemu.machine import Machine

ASKED = ("status", "pools", "swaps", "disas primes", "list", "doctor --host")
PROGRAM = f"{sys.executable} -m bareflow_gdb.cli.main"


def shell(line: str, **environment: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=SECONDS, env={**os.environ, **environment})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("locale", locales.ALL)
def test_every_answer_comes_in_every_locale(idle_machine: Machine, locale: str) -> None:
    for question in ASKED:
        target = "" if question.startswith(("list", "doctor")) else idle_machine.name
        code, out, err = shell(f"{PROGRAM} {question} {target}", **locales.environment(locale))
        assert code == 0 and out and b"defect" not in err, (question, err)


def test_what_the_locale_cannot_show_is_a_question_mark(idle_machine: Machine) -> None:
    asked = f"{PROGRAM} pools {idle_machine.name}"
    _, plain, _ = shell(asked, LC_ALL="C.UTF-8")
    _, shown, _ = shell(asked, **locales.environment("de_DE.ISO-8859-1"))
    text = plain.decode("utf-8")
    assert not text.isascii()
    assert shown.decode("latin-1") == text.encode("latin-1", "replace").decode("latin-1")


def test_a_files_name_comes_out_as_it_is_on_the_disk(idle_machine: Machine, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xc3\xbc\xe2\x86\x92"
    for environment in ({"LC_ALL": "C.UTF-8"}, locales.environment("C")):
        words = [*PROGRAM.split(), "core", idle_machine.name, "--out", name]
        done = subprocess.run(words, capture_output=True, timeout=SECONDS, env={**os.environ, **environment})
        assert done.returncode == 0 and done.stdout.count(name) == 2, done.stderr
        # QEMU's monitor speaks UTF-8 only, and errors lose what cannot be a character.
        refused = [*PROGRAM.split(), "core", idle_machine.name, "--out", name + b"\xfc"]
        done = subprocess.run(refused, capture_output=True, timeout=SECONDS, env={**os.environ, **environment})
        assert done.returncode == 2 and b"QEMU takes only file names that are UTF-8" in done.stderr
        missing = [*PROGRAM.split(), "status", name + b"\xfc"]
        done = subprocess.run(missing, capture_output=True, timeout=SECONDS, env={**os.environ, **environment})
        assert done.returncode == 2 and b"?" in done.stderr and b"defect" not in done.stderr


@pytest.mark.parametrize("closed", (">&-", "2>&-", "<&-", "<&- >&- 2>&-"))
def test_a_missing_stream_ends_nothing(idle_machine: Machine, closed: str) -> None:
    for words, expected in (("status", 0), ("pools --json", 0), ("serial", 0), ("header nosuch", 2), ("nosuch", 2)):
        target = "" if "nosuch" in words else idle_machine.name
        code, _, err = shell(f"{PROGRAM} {words} {target} {closed}")
        assert code == expected and b"defect" not in err and b"Traceback" not in err, (words, err)


def test_a_standard_error_that_is_full_costs_no_answer(idle_machine: Machine) -> None:
    for words, expected in (("status", 0), ("jit --json", 0), ("header nosuch", 2)):
        code, out, _ = shell(f"{PROGRAM} {words} {idle_machine.name if expected == 0 else ''} 2>/dev/full")
        assert code == expected and bool(out) == (expected == 0), words


def test_a_standard_output_that_is_full_is_told() -> None:
    for words in ("--help", "status --help", "list"):
        code, _, err = shell(f"{PROGRAM} {words} >/dev/full")
        assert code == 2 and b"cannot write the output: No space left" in err, words


def test_an_error_that_nobody_takes_is_told_by_the_exit_code() -> None:
    assert shell(f"{PROGRAM} nosuch 2>/dev/full")[0] == 2
    assert shell(f"{PROGRAM} status nosuch 2>/dev/full")[0] == 2
