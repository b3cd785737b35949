"""Real gdbs: Debian's and the environment's share the tests that take `gdb`, case by case.

With BOTH_GDBS=1 in the environment each runs all of them; what is marked `both_gdbs` always runs under both.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from gdb_harness import GDBS, Gdb
from machines import SECONDS, Boot, wait_for_halt

from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

ENDS = {"stock_unikernel": "System halted."}
KERNEL_END = "--- END JSON ---"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves each case of a test to one gdb, the next case of it to the other."""
    if os.environ.get("BOTH_GDBS"):
        return
    turns: dict[str, Iterator[int]] = {}
    cases: dict[tuple[str, str], int] = {}
    left_out = []
    for item in items:
        gdb = getattr(getattr(item, "callspec", None), "params", {}).get("gdb")
        if gdb not in GDBS or item.get_closest_marker("both_gdbs"):
            continue
        test = item.nodeid.partition("[")[0]
        case = test, item.nodeid.replace(gdb, "")
        if case not in cases:
            # Where a test has one case, its name decides.
            cases[case] = next(turns.setdefault(test, count(zlib.crc32(test.encode()))))
        if list(GDBS)[cases[case] % len(GDBS)] != gdb:
            left_out.append(item)
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(params=GDBS)
def gdb(request: pytest.FixtureRequest) -> Gdb:
    path = GDBS[request.param]
    assert path.exists(), f"{path} is missing; `make setup` installs it"
    return Gdb(path)


@pytest.fixture(scope="module")
def ended(firmware: Path) -> Iterator[Boot]:
    """Machines of stock images by name, each booted once in a file and halted at the end of its run; only to read."""
    machines: dict[str, Machine] = {}

    def boot(kernel: str) -> Machine:
        if kernel not in machines:
            image = firmware / "stock" / f"{kernel}.img"
            machines[kernel] = launch(image, with_disk=False)
            wait_for_serial(machines[kernel], ENDS.get(kernel, KERNEL_END), SECONDS)
            wait_for_halt(machines[kernel])
        return machines[kernel]

    yield boot
    for machine in machines.values():
        machine.stop()
