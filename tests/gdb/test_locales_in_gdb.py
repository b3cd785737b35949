"""gdb in a locale that is not UTF-8: every command answers, and an error is one sentence."""

from __future__ import annotations

import os
import subprocess

import locales
import pytest
from gdb_harness import KERNEL, QUESTIONS, Gdb
from machines import SECONDS

from bareflow_gdb.qemu.machine import Machine


@pytest.mark.parametrize("locale", locales.ALL)
def test_every_command_answers_in_every_locale(gdb: Gdb, idle_machine: Machine, locale: str) -> None:
    asked = [f"bf {question}" for question in QUESTIONS]
    done = subprocess.run(
        gdb.command(
            f"bf attach {idle_machine.name}",
            *asked,
            "bf recompile sum",
            "help bf recompile",
            "bf status /nosuch-\xe9",
            'print $bf_module("\xe9\xe4\u2192")',
            "echo the end\\n",
            elf=KERNEL,
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        env={**os.environ, **locales.environment(locale)},
    )
    # What gdb itself cannot take of a line that was typed in another charset it says before the suite is asked.
    said = done.stderr.replace(b"Could not convert arguments to Python string.", b"").splitlines()
    own = [line for line in said if b"decode byte" not in line]
    assert b"the end" in done.stdout and b"sum@" in done.stdout
    assert not [line for line in own if b"Python" in line or b"Error" in line], done.stderr
    assert b"$bf_module: there is no module" in done.stderr


def test_what_is_shown_where_another_charset_is_read_is_ascii(gdb: Gdb, idle_machine: Machine) -> None:
    commands = (f"bf attach {idle_machine.name}", "bf pools")
    done = [
        subprocess.run(
            gdb.command(*commands),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, **environment},
        ).stdout
        for environment in ({"LC_ALL": "C.UTF-8"}, locales.environment("zh_CN.GBK"))
    ]
    assert not done[0].isascii() and done[1].isascii()
    assert len(done[0].decode("utf-8")) == len(done[1])
