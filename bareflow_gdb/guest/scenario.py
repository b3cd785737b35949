"""Which scenario does a guest's run follow, and how is one chosen before the run, or ended?

The word is read once, when the run begins. `ring-flood` and `calls` go on until they are told to stop, and `swap-storm`
ends early then; the others end by themselves.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.memory.protocol import Memory

NAMES = ("run", "ring-cost", "ring-flood", "call-cost", "module-life", "swap-storm", "calls")
"""The scenarios, in the order of the contract's numbers, which gdb need not read for the words of a command."""
_SINCE = {"swap-storm": 5, "calls": 6}
"""Debug interface 1.x; before it the kernel takes the word for "run"."""
STOP = "stop"
STOPPABLE = ("ring-flood", "swap-storm", "calls")
WAIT_SECONDS = 15.0
POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Scenario:
    """What was asked, and what is so now."""

    scenario: str
    """Of this run."""
    before: str
    stage: str
    done: bool
    message: str


def number(name: str) -> int:
    """What the contract calls one of NAMES."""
    return layouts.const(f"BF_SCENARIO_{name.replace('-', '_').upper()}")


def choose(memory: Memory, root: Root, name: str) -> Scenario:
    """Writes the word, when the guest is still to read it. Raises UsageError, ReadError."""
    _need_scenarios(root)
    if not root.tells(_SINCE.get(name, 0)):
        raise UsageError(
            f"this kernel (debug interface {root.abi}) has no scenario {name}; build one with 1.{_SINCE[name]}"
        )
    memory.invalidate()
    if _has_begun(memory):
        late = "the run has begun, and reads the word once; `bareflow run --scenario` is in time"
        return _told(memory, root, False, late)
    before = _now(memory, root)
    _write(memory, root, "scenario", number(name))
    memory.invalidate()
    if _has_begun(memory):
        return _told(memory, root, False, "the run began meanwhile: `log` shows which scenario it follows", before)
    return _told(memory, root, True, "the run begins with it; a held guest waits for `release`", before)


def stop(memory: Memory, root: Root, wait: Callable[[], bool]) -> Scenario:
    """Ends the one that does not end by itself; `wait` says whether the guest runs, so that it can be waited for."""
    _need_scenarios(root)
    memory.invalidate()
    if not _is_running(memory) or _now(memory, root) not in STOPPABLE:
        return _told(
            memory, root, False, f"there is nothing to stop: only {', '.join(STOPPABLE)} look for that, while they run"
        )
    _write(memory, root, "scenario_stop", 1)
    deadline = time.monotonic() + WAIT_SECONDS
    while wait() and time.monotonic() < deadline:
        memory.invalidate()
        if not _is_running(memory):
            return _told(memory, root, True, "the guest has ended it; `log` shows what it counted")
        time.sleep(POLL_SECONDS)
    if wait():
        return _told(memory, root, False, f"the word is set, but the guest did not end it within {WAIT_SECONDS:g} s")
    return _told(memory, root, True, "the word is set; the guest ends it when it goes on")


def _need_scenarios(root: Root) -> None:
    if root.variant != "kernel":
        raise UsageError("an application has no scenarios, the kernel has: `bareflow run --scenario`")


def _has_begun(memory: Memory) -> bool:
    return stage_of(memory) >= layouts.const("BF_STAGE_RUNNING")


def _is_running(memory: Memory) -> bool:
    return stage_of(memory) == layouts.const("BF_STAGE_RUNNING")


def _now(memory: Memory, root: Root) -> str:
    value = read_word(memory, root.address + layouts.offset("bf_root", "scenario"), "scenario")
    return word("bf_scenario", value).replace("_", "-")


def _write(memory: Memory, root: Root, field: str, value: int) -> None:
    memory.write(root.address + layouts.offset("bf_root", field), struct.pack("<I", value), field)


def _told(memory: Memory, root: Root, done: bool, message: str, before: str | None = None) -> Scenario:
    memory.invalidate()
    now = _now(memory, root)
    return Scenario(now, now if before is None else before, word("bf_boot_stage", stage_of(memory)), done, message)
