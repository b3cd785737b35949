"""When is a machine's kernel called a stock kernel? Never because ours was loaded between two looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from fake_guest import Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.boot.foreign import refuse_foreign
from bareflow_gdb.qemu.machine import Machine


class Machinery:
    name = "vm1"
    image = Path("/dev/null")


class LoadedAfter(Bytes):
    """RAM that is empty until it has been read so often."""

    def __init__(self, reads: int) -> None:
        super().__init__()
        self.left = reads
        self.loaded: Any = FakeGuest().build()
        signature = layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little")
        self.loaded.put(layouts.const("BF_IMAGE_BASE"), signature)

    def _fetch(self, address: int, size: int) -> bytes:
        self.left -= 1
        return super()._fetch(address, size) if self.left >= 0 else self.loaded._fetch(address, size)


def look(memory: Bytes) -> None:
    refuse_foreign(cast(Machine, Machinery()), memory, "that cannot", "ask otherwise")


def test_our_kernel_loaded_between_any_two_looks_is_not_foreign() -> None:
    for reads in range(12):
        look(LoadedAfter(reads))


def test_a_signature_without_our_marks_is_foreign() -> None:
    memory = Bytes()
    memory.put(layouts.const("BF_IMAGE_BASE"), layouts.const("BF_FLUD_MAGIC").to_bytes(4, "little"))
    with pytest.raises(BadData, match="machine vm1 runs a stock kernel, that cannot; ask otherwise"):
        look(memory)
