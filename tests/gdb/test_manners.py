"""Colours, locales, MI: what the suite prints, where, and that it changes nothing of gdb's own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

import pytest
from gdb_harness import SCRIPT, SECONDS, Gdb
from mi_gdb import MiError, MiGdb

from bareflow_gdb.qemu.machine import Machine

ESCAPE = b"\x1b["


def on_a_terminal(gdb: Gdb, *commands: str, **environment: str) -> bytes:
    """What gdb writes to a terminal."""
    ours, its = pty.openpty()
    words = [str(gdb.path), "-nx", "-q", "-x", str(SCRIPT), "-ex", "set pagination off"]
    for command in (*commands, "set confirm off", "quit"):
        words += ["-ex", command]
    known = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(words, stdin=its, stdout=its, stderr=its, env={**known, "TERM": "xterm", **environment})
    os.close(its)
    out = b""
    code = None
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline and select.select([ours], [], [], SECONDS)[0]:
            try:
                out += os.read(ours, 65536)
            except OSError:  # the other side of a pty is closed
                break
        code = process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert code == 0
    return out


def table_of(output: bytes) -> bytes:
    """The part that the suite wrote: gdb 13 resets its own colours before it."""
    return output.split(b"<<<")[1].split(b">>>")[0].partition(b"Status")[2]


@pytest.mark.parametrize(
    ("environment", "command", "coloured"),
    (
        ({}, "set style enabled on", True),
        ({"NO_COLOR": "1"}, "set style enabled on", False),
        ({}, "set style enabled off", False),
    ),
    ids=("terminal", "NO_COLOR", "style off"),
)
def test_colours_are_for_terminals_that_want_them(
    gdb: Gdb, idle_machine: Machine, environment: dict[str, str], command: str, coloured: bool
) -> None:
    shown = on_a_terminal(
        gdb, f"bf attach {idle_machine.name}", command, "echo <<<", "bf status", "echo >>>", **environment
    )
    assert b"adaptive" in table_of(shown) or b"fibonacci" in table_of(shown)
    assert (ESCAPE in table_of(shown)) is coloured


def test_in_a_pipe_there_is_no_escape_sequence(gdb: Gdb, idle_machine: Machine) -> None:
    done = subprocess.run(
        gdb.command(f"bf attach {idle_machine.name}", "bf status", "bf jit", "bf pools", "bf doctor"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        env={name: value for name, value in os.environ.items() if name != "NO_COLOR"},
    )
    assert b"fibonacci" in done.stdout
    assert b"\x1b" not in done.stdout + done.stderr


def test_in_the_c_locale_it_loads_and_answers(gdb: Gdb, idle_machine: Machine) -> None:
    done = subprocess.run(
        gdb.command(f"bf attach {idle_machine.name}", "bf pools code", "bf step-swap moon", "help bf recompile"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("LC_")},
            "LANG": "C",
            "NO_COLOR": "1",
        },
    )
    assert b"Traceback" not in done.stderr and b"UnicodeEncodeError" not in done.stderr
    assert b"code pool" in done.stdout
    assert b"Usage: bf recompile" in done.stdout


def test_mi_gets_each_answer_as_console_output_and_errors_as_errors(gdb: Gdb, idle_machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        assert '"stage": "idle"' in session.run("bf status --json")
        with pytest.raises(Exception, match="no function 'moon' is registered"):
            session.run("bf step-swap moon")


def test_a_session_with_the_suite_leaves_gdbs_settings_as_they_were(gdb: Gdb, idle_machine: Machine) -> None:
    settings = (
        "show confirm",
        "show pagination",
        "show suppress-cli-notifications",
        "show architecture",
        "show non-stop",
        "show breakpoint pending",
        "show prompt",
    )

    def shown(*commands: str) -> list[str]:
        out = gdb.run(f"bf attach {idle_machine.name}", *commands, "echo <<<\\n", *settings).out
        return out.split("<<<\n")[1].splitlines()

    asked = ("bf step-boot", "bf status", "bf jitsym", "bf jitsym --detach", "bf doctor", "bf reload")
    assert shown(*asked) == shown()


def test_an_error_that_gdb_words_has_no_colours_in_it(gdb: Gdb, idle_machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        with pytest.raises(MiError, match=r'Use the "file" command') as raised:
            session.run("bf identify nothing_of_this_name")
    assert "\x1b" not in str(raised.value)
