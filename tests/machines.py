"""What tests of machines share: types of the fixtures, and waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
Assemble = Callable[[str], Path]


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Waits until the condition is true; fails the test when it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.005)
