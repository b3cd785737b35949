"""The real guest's memory, damaged at random: every question still ends in an answer or in one sentence."""

from __future__ import annotations

import random
import struct

import pytest
from fake_guest import Bytes
from interrogation import ask_everything

from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

SAVED = 7 << 20
NASTY = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xB8000, 0x9FFFF, 0x3FFFFFC, 0xFFFFFFF0, 0x200010, 0x1FBC0)


@pytest.fixture(scope="module")
def saved(idle_machine: Machine) -> bytes:
    return idle_machine.read_physical(0, SAVED)


def tables(root: Root) -> list[tuple[int, int]]:
    """Address and size of the part in use of what the decoders read."""
    return [
        (0x10000, 32),
        (0x600, 192),
        (root.address, 216),
        (root.status, 64),
        (root.function_table, 400),
        (root.version_table, 1100),
        (root.adaptive_jit, 220),
        (root.adaptive_jit + 6656, 220),
        (root.adaptive_jit + 8208, 8),
        (root.module_manager, 1356),
        (root.module_images, 256),
        (root.pools, 132),
        (root.block_table, 600),
        (root.exception, 100),
        (root.log_buffer, 16),
        (root.mailbox, 28),
        (root.mailbox - 0x1000, 512),
        (root.rings[0], 192),
        (root.rings[0] + 0x1000, 4096),
        (0x200000, 0x1800),
    ]


@pytest.mark.parametrize("seed", range(40))
def test_words_and_runs_of_bytes_anywhere_in_the_tables(saved: bytes, seed: int) -> None:
    chance = random.Random(seed)
    memory = Bytes(SAVED)
    memory.put(0, saved)
    root = Guest.attach(memory).root()
    for _ in range(chance.randint(1, 12)):
        base, size = chance.choice(tables(root))
        at = base + chance.randrange(size) // 4 * 4
        if chance.random() < 0.6:
            memory.put(at, struct.pack("<I", chance.choice(NASTY)))
        else:
            memory.put(at, chance.randbytes(chance.randint(1, 64)))
    ask_everything(Guest.attach(memory, {"bareflow_root": root.address}))


@pytest.mark.parametrize("size", [0x10000, 0x24000, 0x80000, 0x200400, 0x2C0100, 0x300050, 0x600010])
def test_a_dump_that_was_cut_off(saved: bytes, size: int) -> None:
    memory = Bytes(size)
    memory.put(0, saved[:size])
    ask_everything(Guest.attach(memory))
