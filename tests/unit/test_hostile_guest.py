"""A guest that lies: whatever its memory holds, only the suite's own errors come out, soon, and harmless.

Two ways of lying: random bytes written over a good guest (tables, headers, counts, pointers), and a root that
is itself valid but leads to noise.
"""

from __future__ import annotations

import random
import struct

import pytest
from asking import record_of
from fake_guest import (
    BLOCKS,
    EXCEPTION,
    EXPORTS,
    FUNCTIONS,
    IMAGES,
    JIT,
    LOG,
    MANAGER,
    MODULE_FILES,
    POOLS,
    ROOT,
    STATUS,
    VERSIONS,
    Bytes,
    FakeGuest,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from interrogation import ask_everything

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest

TABLES = {
    "root": (ROOT, 216),
    "image header": (layouts.const("BF_IMAGE_BASE"), 32),
    "boot record": (layouts.const("BF_BOOT_RECORD_ADDRESS"), 192),
    "status": (STATUS, 64),
    "functions": (FUNCTIONS, 192),
    "versions": (VERSIONS, 192),
    "profiler": (JIT, 104),
    "profiler counts": (JIT + 6656, 16),
    "JIT entries": (JIT + 6672, 96),
    "JIT counts": (JIT + 8208, 8),
    "manager": (MANAGER, 168),
    "manager counts": (MANAGER + 1344, 12),
    "images": (IMAGES, 128),
    "module headers": (MODULE_FILES, 48),
    "pools": (POOLS, 132),
    "block table": (BLOCKS, 20 + 9 * 16),
    "exception": (EXCEPTION, 100),
    "log": (LOG, 16),
    "exports": (EXPORTS, 80),
    "ring": (layouts.const("BF_RING0_HEADER"), 192),
    "mailbox": (layouts.const("BF_MAILBOX_HEADER"), 28),
    "mailbox slots": (layouts.const("BF_MAILBOX_SLOTS"), 256),
}
POINTERS = (
    "boot_record",
    "module_manager",
    "function_profiler",
    "adaptive_jit",
    "function_table",
    "version_table",
    "pools",
    "block_table",
    "mailbox",
    "exception",
    "log_buffer",
    "exports",
    "export_count",
    "status",
    "module_images",
    "version_causes",
    "image_base",
    "image_end",
)
NASTY = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xB8000, 0x9FFFF, 0x100000, 0x3FFFFFC, 0xFFFFFFF0, 0x200010)

relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@relaxed
@given(name=st.sampled_from(sorted(TABLES)), at=st.integers(0, 1 << 16), data=st.binary(min_size=1, max_size=200))
def test_random_bytes_in_any_table(name: str, at: int, data: bytes) -> None:
    memory = FakeGuest().build()
    base, size = TABLES[name]
    memory.put(base + at % size, data)
    ask_everything(Guest.attach(memory, {"bareflow_root": ROOT}))


@relaxed
@given(
    changes=st.lists(
        st.tuples(st.sampled_from(sorted(TABLES)), st.integers(0, 1 << 12), st.sampled_from(NASTY)),
        min_size=1,
        max_size=6,
    )
)
def test_nasty_words_in_several_tables_at_once(changes: list[tuple[str, int, int]]) -> None:
    memory = FakeGuest().build()
    for name, at, value in changes:
        base, size = TABLES[name]
        memory.put(base + at * 4 % (size & ~3), struct.pack("<I", value))
    ask_everything(Guest.attach(memory))


@relaxed
@given(field=st.sampled_from(POINTERS), value=st.sampled_from(NASTY))
def test_a_valid_root_with_a_pointer_to_anywhere(field: str, value: int) -> None:
    fake = FakeGuest()
    fake.root[field] = value
    ask_everything(Guest.attach(fake.build()))


@pytest.mark.parametrize("seed", range(6))
def test_a_valid_root_in_a_memory_full_of_noise(seed: int) -> None:
    memory = Bytes()
    memory.put(0, random.Random(seed).randbytes(len(memory.ram)))
    clean = FakeGuest().build()
    for name in ("root", "image header"):
        base, size = TABLES[name]
        memory.put(base, bytes(clean.ram[base : base + size]))
    ask_everything(Guest.attach(memory))


@pytest.mark.parametrize("seed", range(4))
def test_pure_noise(seed: int) -> None:
    memory = Bytes()
    memory.put(0, random.Random(seed).randbytes(len(memory.ram)))
    ask_everything(Guest.attach(memory))


def test_a_memory_of_all_ones() -> None:
    memory = Bytes()
    memory.put(0, b"\xff" * len(memory.ram))
    ask_everything(Guest.attach(memory))


@pytest.mark.parametrize("size", [0, 1, 0x605, 0x10003, 0x10010, ROOT + 100, 0x9FFFF, 0x100001, 0x200100])
def test_a_memory_that_ends_early(size: int) -> None:
    memory = Bytes(size)
    memory.put(0, bytes(FakeGuest().build().ram[:size]))
    ask_everything(Guest.attach(memory))


def test_every_count_at_its_worst_reads_a_bounded_number_of_bytes() -> None:
    memory = FakeGuest().build()
    memory.set(STATUS, "bf_status", "function_count", 0xFFFFFFFF)
    memory.set(STATUS, "bf_status", "version_count", 0xFFFFFFFF)
    memory.set(MANAGER, "module_manager", "num_modules", 0xFFFFFFFF)
    memory.set(BLOCKS, "bf_block_table", "count", 0xFFFFFFFF)
    memory.set(BLOCKS, "bf_block_table", "capacity", 0xFFFFFFFF)
    memory.put(JIT + 6656, b"\xff" * 16)
    memory.put(JIT + 8208, b"\xff" * 8)
    guest = Guest.attach(memory)
    for question in ("status", "modules", "pools", "profile", "jit", "swaps"):
        before = memory.bytes_read
        record_of(guest, question)
        assert memory.bytes_read - before < 256 << 10, question
