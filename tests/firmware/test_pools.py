"""Are the JIT pools, their statistics and their block table right to the byte?"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from kernel_view import Kernel, MailHost, returning

from bareflow_gdb.abi import layouts
from bareflow_gdb.qemu.machine import Machine

HEADER = layouts.size("block_header_t")
KINDS = ("CODE", "DATA", "METADATA")


@pytest.fixture(scope="module")
def kernel(idle_machine: Machine) -> Kernel:
    return Kernel(idle_machine)


def blocks(kernel: Kernel, kind: str) -> list[tuple[int, Any]]:
    """Every block of a pool by walking its headers: (address of the header, header)."""
    pool = kernel.pool(kind)
    found, at = [], pool.base
    while at < pool.base + pool.total_size:
        header = kernel.record("block_header_t", at)
        assert header.magic == layouts.const("BLOCK_MAGIC"), f"no block header at 0x{at:08x}"
        found.append((at, header))
        at += HEADER + header.size
    assert at == pool.base + pool.total_size
    return found


def table(kernel: Kernel) -> list[Any]:
    head = kernel.record("bf_block_table", kernel.root.block_table)
    assert (head.magic, head.lost) == (layouts.const("BF_BLOCKS_MAGIC"), 0)
    return kernel.records("bf_block", head.blocks, head.count)


def check_pools(kernel: Kernel) -> None:
    """Headers, free lists, statistics and block table tell one story."""
    walked = set()
    for number, kind in enumerate(KINDS):
        pool, found = kernel.pool(kind), blocks(kernel, kind)
        free = [(at, header) for at, header in found if header.is_free]
        listed, at = [], pool.free_list
        while at:
            listed.append(at)
            at = kernel.record("block_header_t", at).next
        assert listed == [at for at, _ in free], "the free list holds all free blocks in address order"
        pairs = itertools.pairwise(found)
        assert not any(a.is_free and b.is_free for (_, a), (_, b) in pairs), "neighbours not joined"
        sizes = [header.size + HEADER for _, header in free]
        assert pool.stats.total == pool.total_size == pool.stats.used + pool.stats.free
        assert pool.stats.free == sum(sizes)
        assert pool.stats.fragmentation == (sum(sizes) - max(sizes)) * 100 // sum(sizes)
        assert pool.stats.used <= pool.stats.peak <= pool.stats.total
        used = len(found) - len(free)
        assert pool.stats.num_allocations - pool.stats.num_deallocations == used
        walked |= {(at, header.size, number, 1 if header.is_free else 2) for at, header in found}
    assert {(b.address, b.size, b.pool, b.state) for b in table(kernel)} == walked


def test_the_ten_self_tests_pass_and_leave_clean_statistics(kernel: Kernel) -> None:
    assert "\n10 / 10 tests passed\n" in kernel.log
    assert "pool allocation failed" not in kernel.log, "a failure provoked by a test must not look like one"
    metadata = kernel.pool("METADATA").stats
    assert metadata.peak == metadata.used, "nothing was freed in METADATA since the tests"
    assert metadata.num_deallocations == 0


def test_headers_free_list_statistics_and_block_table_agree(kernel: Kernel) -> None:
    check_pools(kernel)


def test_every_code_and_rodata_of_a_version_is_a_block_owned_by_it(kernel: Kernel) -> None:
    owned = {(b.address + HEADER, b.pool): b for b in table(kernel) if b.state == 2}
    versions = kernel.versions()
    assert len(versions) == 48
    for version in versions:
        for address, pool in ((version.code, 0), (version.rodata, 1)):
            if address:
                block = owned[address, pool]
                assert (block.owner_kind, block.owner) == (layouts.const("BF_OWNER_VERSION"), version.number)
                assert address % 16 == 0


def test_a_failed_allocation_is_told_and_the_guest_runs_on(booted: Any) -> None:
    kernel = Kernel(booted(hook_mask=0))
    host = MailHost(kernel, "sum")
    free_list = kernel.root.pools + layouts.offset("memory_pool_t", "free_list")
    kept = kernel.read(free_list, 4)
    versions = {version.number: version for version in kernel.versions()}
    kernel.write_word(free_list, 0)
    host.set("ask", 4)
    host.ring_doorbell()
    slot = host.wait_until_done(1)
    assert slot.done_reason == layouts.const("BF_REASON_NO_MEMORY")
    assert "CODE pool allocation failed\n" in kernel.log
    assert "[MAILBOX] sum: rejected: no memory\n" in kernel.log
    failures = kernel.events_of("POOL_FAIL")
    assert failures and all(event.id == 0 and event.arg[0] == 8192 for event in failures)
    assert kernel.functions["sum"].version in versions
    assert kept != b"\0\0\0\0"


def test_under_pressure_retired_versions_give_way_and_the_books_stay_right(booted: Any) -> None:
    kernel = Kernel(booted())
    host = MailHost(kernel, "fibonacci")
    code = returning(6765) + b"\x90" * 30000
    for request in range(1, 11):
        host.ask(3)
        host.move("COMPILING")
        host.set("need_code", len(code))
        host.move("NEED_MORE")
        slot = host.wait_for("REQUESTED")
        assert slot.code_capacity == len(code)
        host.stage(code)
        slot = host.wait_until_done(request)
        assert slot.done_state == layouts.const("BF_MAIL_INSTALLED"), slot
    assert kernel.functions["fibonacci"].last_result == 6765
    assert "[FREE] fibonacci: version 1 (O0) freed\n" in kernel.log
    check_pools(kernel)
    freed = [version for version in kernel.versions("fibonacci") if version.state == 5]
    owners = {block.owner for block in table(kernel) if block.owner_kind == 1}
    assert freed and not owners & {version.number for version in freed}
