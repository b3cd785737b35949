"""Real gdbs: every test that takes `gdb` runs under Debian's and under the environment's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_harness import GDBS, Gdb
from machines import SECONDS, Boot, wait_for_halt

from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

ENDS = {"stock_unikernel": "System halted."}
KERNEL_END = "--- END JSON ---"


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
