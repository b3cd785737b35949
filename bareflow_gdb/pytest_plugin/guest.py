"""What can a test ask of its guest? Questions as in a shell, answered with records; waits; rules; a trace."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.code.jit import JitFunction
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.store import Trace

SECONDS = 60.0
_MACHINE = {"disk": "disk", "memory": "memory_mib", "icount": "icount", "floppy": "floppy"}
"""Words of the marker about the machine, and what `launch` calls them."""
_SETTINGS = ("thresholds", "hold", "scenario")
_OTHERS = ("image", "stage", "seconds")
_LAST_LINES = 40
_numbers = itertools.count(1)


class GuestUnderTest:
    """A running machine. Methods raise BareflowError with a sentence, which fails the test."""

    def __init__(self, machine: Machine, seconds: float) -> None:
        self.machine = machine
        self.seconds = seconds
        """How long is waited for anything."""

    @property
    def name(self) -> str:
        """What a shell calls it: `bareflow status NAME`."""
        return self.machine.name

    @property
    def serial(self) -> str:
        """What it has printed on COM1."""
        return self.machine.serial()

    def wait(self, stage: str) -> None:
        """Until a boot stage is reached, for instance `idle`."""
        from bareflow_gdb.guest.boot.wait import wait_for_stage

        wait_for_stage(self.machine, stage, self.seconds)

    def wait_for_serial(self, text: str) -> None:
        """Until it has printed a text."""
        from bareflow_gdb.guest.boot.wait import wait_for_serial

        wait_for_serial(self.machine, text, self.seconds)

    def release(self) -> None:
        """Lets a guest that was started with `hold=1` begin its run."""
        from bareflow_gdb.guest.boot.wait import release

        release(self.machine)

    def ask(self, question: str, *words: str) -> Any:
        """The record that answers a question: `ask("pools", "code").pools[0].used`."""
        from bareflow_gdb.cli import ask, main
        from bareflow_gdb.questions import registry

        if question not in registry.names():
            raise UsageError(f"there is no question {question!r}; the questions are {', '.join(registry.names())}")
        asked = registry.load(question)
        options = main.build_parser(question).parse_args([question, *words])
        ask.place_words(asked, options)
        return asked.answer(self._context(), options).record

    def function(self, name: str) -> JitFunction:
        """A function of the adaptive JIT: its level, calls, versions."""
        found: tuple[JitFunction, ...] = self._context().kernel.jit(every=True).functions
        for one in found:
            if one.name == name:
                return one
        raise UsageError(f"the guest has no function {name!r}; it has {', '.join(one.name for one in found) or 'none'}")

    def findings(self) -> tuple[Any, ...]:
        """What the checks find wrong; `assert not guest.findings()`."""
        from bareflow_gdb.checks import registry

        return tuple(one for one in registry.run(self._context().subject()).findings if one.bad)

    def check(self, rules: Path | str, trace: Trace | None = None) -> None:
        """Fails the test when a rule of a file is not kept (as `bareflow check`), with those rules and why."""
        from bareflow_gdb.analysis.kept import judge
        from bareflow_gdb.analysis.rules import KEPT, read_rules

        judged = judge(read_rules(Path(rules)), self._context().subject(), trace)
        wrong = [f"{one.rule}: {one.verdict}, {one.why}" for one in judged if one.verdict != KEPT]
        if wrong:
            raise AssertionError("\n".join((f"{len(wrong)} of {len(judged)} rules of {rules}", *wrong)))

    def record(self, directory: Path) -> Trace:
        """Records every event until its run has ended, into a new directory; lets a guest that is held begin."""
        from bareflow_gdb.tracing.recorder import Recorder

        with Recorder(self.machine, directory, boot_seconds=self.seconds) as recorder:
            recorder.release_hold()
            ended = recorder.run(until_idle=True, seconds=self.seconds)
        if ended != "idle":
            raise BareflowError(f"the run of {self.name} did not end within {self.seconds:g} s: {ended}")
        return Trace.open(directory)

    def evidence(self) -> list[tuple[str, str]]:
        """What is worth seeing when the test has failed: titles and texts."""
        try:
            from bareflow_gdb.questions import registry

            status = registry.load("status")
            told = status.text(self.ask("status"))
        except BareflowError as error:
            told = str(error)
        lines = self.serial.splitlines()[-_LAST_LINES:]
        return [(f"status of guest {self.name}", told), (f"end of what {self.name} printed", "\n".join(lines))]

    def _context(self) -> Any:
        from bareflow_gdb.cli.ask import TargetContext
        from bareflow_gdb.cli.target import machine_target

        return TargetContext(machine_target(self.machine))


@contextmanager
def started(image: Path | None, wanted: Mapping[str, Any]) -> Iterator[GuestUnderTest]:
    """A machine as the marker says; it ends with the block. Raises UsageError for a word that there is not."""
    from bareflow_gdb.qemu.default import default_image
    from bareflow_gdb.qemu.launch import launch

    known = (*_MACHINE, *_SETTINGS, *_OTHERS)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UsageError(f"this marker of a guest has no {unknown[0]!r}; it takes {', '.join(known)}")
    options = {called: wanted[name] for name, called in _MACHINE.items() if name in wanted}
    machine = launch(
        Path(wanted.get("image") or image or default_image()),
        name=f"pytest-{os.getpid()}-{next(_numbers)}",
        settings=_settings(wanted),
        **options,
    )
    try:
        guest = GuestUnderTest(machine, float(wanted.get("seconds", SECONDS)))
        if "stage" in wanted:
            guest.wait(wanted["stage"])
        yield guest
    finally:
        machine.stop()


def _settings(wanted: Mapping[str, Any]) -> RootSettings | None:
    """None where nothing is set: a kernel without a root descriptor has no words to set."""
    from bareflow_gdb.guest.scenario import NAMES, number

    words = {name: wanted[name] for name in _SETTINGS if name in wanted}
    if "scenario" in words:
        if words["scenario"] not in NAMES:
            raise UsageError(f"there is no scenario {words['scenario']!r}; there are {', '.join(NAMES)}")
        words["scenario"] = number(words["scenario"])
    return RootSettings(**words) if words else None
