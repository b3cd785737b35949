"""Signals that end a verb are noted, however many come and however close together."""

from __future__ import annotations

import signal
import subprocess
import sys

from bareflow_gdb.cli.signals import noted

NESTED = """
import signal, sys
from bareflow_gdb.cli.signals import noted

nested = 0

def again(frame, event, _):
    global nested
    if event == "line":
        nested += 1
        signal.raise_signal(signal.SIGTERM)
    return again

with noted() as stopped:
    sys.settrace(again)
    signal.raise_signal(signal.SIGINT)
    sys.settrace(None)
    print(stopped(), nested > 0)
"""
"""A second signal at each line of the first one's handler."""


def test_one_signal_is_noted_and_afterwards_everything_is_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with noted() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGTERM)
        assert stopped()
    assert signal.getsignal(signal.SIGTERM) == before


def test_only_what_was_named_is_noted() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with noted((signal.SIGINT,)) as stopped:
        assert signal.getsignal(signal.SIGTERM) == before
        signal.raise_signal(signal.SIGINT)
        assert stopped()


def test_signals_that_come_while_one_is_noted_do_not_stop_the_program_for_ever() -> None:
    done = subprocess.run([sys.executable, "-c", NESTED], capture_output=True, encoding="utf-8", timeout=15)
    assert (done.stdout, done.stderr) == ("True True\n", "")
