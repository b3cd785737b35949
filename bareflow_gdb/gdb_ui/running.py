"""How does a command let the guest run and get it back? One foreground resume, and why it stopped.

Nothing here runs in a stop handler: handlers only note what gdb told them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.foreign import sentence, switch
from bareflow_gdb.guest.code.prologue import FRAME_SET_UP

if TYPE_CHECKING:
    from bareflow_gdb.memory.protocol import Memory


@dataclass(frozen=True)
class Stop:
    """Why the guest stopped: at breakpoints, by a signal's name, or else."""

    breakpoints: tuple[gdb.Breakpoint, ...]
    signal: str

    @property
    def interrupted(self) -> bool:
        return self.signal == "SIGINT"

    def __str__(self) -> str:
        if self.interrupted:
            return "an interrupt"
        if self.signal:
            return f"signal {self.signal}"
        numbers = ", ".join(str(item.number) for item in self.breakpoints if item.number > 0)
        return f"breakpoint {numbers}" if numbers else "another stop"


def internal_breakpoint(
    address: int, condition: str | None = None, *, hardware: bool = False
) -> AbstractContextManager[gdb.Breakpoint]:
    """An invisible breakpoint that is gone again on every way out of the block.

    hardware: for code that is still to be loaded, which would overwrite any other kind.
    """
    kind = gdb.BP_HARDWARE_BREAKPOINT if hardware else gdb.BP_BREAKPOINT
    return _passing(gdb.Breakpoint(f"*0x{address:x}", type=kind, internal=True), condition)


def internal_watchpoint(address: int, condition: str | None = None) -> AbstractContextManager[gdb.Breakpoint]:
    """An invisible write watchpoint on a word, gone again on every way out of the block."""
    # Masked to 32 bits by its type: the guest is i386 even where QEMU's CPU model is x86-64.
    word = f"*(unsigned int *) 0x{address:x}"
    return _passing(gdb.Breakpoint(word, gdb.BP_WATCHPOINT, gdb.WP_WRITE, internal=True), condition)


@contextlib.contextmanager
def interrupted_after(seconds: float) -> Iterator[threading.Event]:
    """A guest that is let run in the block is stopped when the time is over; the event says that it was."""
    late, over = threading.Event(), threading.Event()

    def interrupt() -> None:
        # In gdb's own thread, while the foreground `continue` waits for events.
        if not over.is_set():
            late.set()
            gdb.execute("interrupt")

    def wait() -> None:
        if not over.wait(seconds):
            gdb.post_event(interrupt)

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield late
    finally:
        over.set()


@contextlib.contextmanager
def _passing(breakpoint: gdb.Breakpoint, condition: str | None) -> Iterator[gdb.Breakpoint]:
    try:
        breakpoint.silent = True
        if condition is not None:
            breakpoint.condition = condition
        yield breakpoint
    finally:
        if breakpoint.is_valid():
            breakpoint.delete()


_MOST_TOLD = 5
"""How often the stop before a step may be told."""


@dataclass
class Interceptor:
    """Who is asked about a stop of `resume` before its caller sees it: True = dealt with, the guest goes on."""

    asked: Callable[[Stop], bool] | None = None
    active: bool = False
    """Is a `resume` under way, so that nobody else may let the guest go on?"""


interceptor = Interceptor()


def resume() -> Stop:
    """`continue` in the foreground until the guest stops; its usual stop message is not printed.

    Raises Unreachable when the guest went away meanwhile.
    """
    interceptor.active = True
    try:
        while True:
            stop = _continue()
            if interceptor.asked is None or not interceptor.asked(stop):
                return stop
    finally:
        interceptor.active = False


def _continue() -> Stop:
    stops: list[Any] = []
    gdb.events.stop.connect(stops.append)
    try:
        with _quiet_stops():
            # Not to a string: gdb 18 would catch the ^running of MI with it.
            gdb.execute("continue")
    except gdb.error as error:
        raise _lost(error) from error
    finally:
        gdb.events.stop.disconnect(stops.append)
    if not stops or not gdb.selected_inferior().pid:
        raise Unreachable("the guest went away while it ran; connect again with `bf attach`")
    last = stops[-1]
    return Stop(tuple(getattr(last, "breakpoints", ())), str(getattr(last, "stop_signal", "")))


def _step_instruction() -> None:
    """One machine instruction, without the usual output; raises Unreachable when the guest is gone."""
    try:
        with _quiet_stops():
            gdb.execute("stepi")
    except gdb.error as error:
        raise _lost(error) from error
    if not gdb.selected_inferior().pid:
        raise Unreachable("the guest went away during a step; connect again with `bf attach`")


def step_off() -> None:
    """Steps the instruction at which the guest stands after a stop.

    Now and then gdb is told of that stop again, on a busy host more than once, before the instruction was executed.
    A repeated one (`rep movsb`) stays where it is too, but counts in ECX; one that jumps to itself is stepped often.
    """
    before = _standing()
    for _ in range(_MOST_TOLD):
        _step_instruction()
        if _standing() != before:
            return


def enter_frame(memory: Memory) -> None:
    """At a function's first instruction: steps over the two that set up its EBP frame, by which gdb finds arguments."""
    if memory.read(read_register("eip"), len(FRAME_SET_UP), "code") == FRAME_SET_UP:
        step_off()
        step_off()


def _standing() -> tuple[int, int]:
    return read_register("eip"), read_register("ecx")


def go_on() -> None:
    """Lets the guest run in the background: the prompt comes back, and `interrupt` stops the guest."""
    gdb.execute("continue &")


def go_on_in_front() -> None:
    """Lets the guest run as `continue` does: the prompt comes back when it stops, which Ctrl-C makes it do."""
    try:
        gdb.execute("continue", from_tty=True)
    except gdb.error as error:
        raise _lost(error) from error


def attended() -> bool:
    """Does somebody sit at this gdb's terminal, who would want to go on?"""
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    return os.isatty(0) and b"-batch" not in words and b"--batch" not in words


def program_counter() -> int:
    """Of the selected frame; not through a frame object, for which gdb would look at the code around it."""
    return int(gdb.parse_and_eval("(unsigned int) $pc"))


def read_register(name: str) -> int:
    """A 32-bit register of the stopped guest."""
    return int(gdb.selected_frame().read_register(name)) & 0xFFFFFFFF


def _lost(error: gdb.error) -> BareflowError:
    return Unreachable(f"the guest went away ({sentence(str(error)).rstrip('.')}); connect again with `bf attach`")


@contextlib.contextmanager
def _quiet_stops() -> Iterator[None]:
    before = gdb.parameter("suppress-cli-notifications")
    gdb.execute("set suppress-cli-notifications on")
    try:
        yield
    finally:
        gdb.execute(f"set suppress-cli-notifications {switch(bool(before))}")
