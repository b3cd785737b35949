"""Does the cache in the DATA pool fetch tiers from disk, keep what is published, and give up the least recently run?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_maker import Disk, padded, version_1, with_code
from kernel_view import Kernel, MailHost, text
from machines import SECONDS

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.fat_image import disk_name
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

QUICK = RootSettings(thresholds=(10, 20, 30))
FILLED, PUBLISHED = 1, 2
FROM_DISK, HIT, EVICTED = (layouts.const(f"BF_REASON_{name}") for name in ("DISK", "CACHE", "EVICTED"))


def built(firmware: Path) -> dict[str, bytes]:
    """What `make` puts on the disk."""
    found = sorted((firmware / "modules").glob("*.mod"))
    return {disk_name(path.name): path.read_bytes() for path in found}


def ran(image: Path, files: dict[str, bytes], folder: Path) -> Machine:
    machine = launch(image, disk=Disk.of(files).save(folder / "disk.img"), settings=QUICK)
    wait_for_stage(machine, "idle", SECONDS)
    return machine


@pytest.fixture(scope="module")
def kernel(image: Path, firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    machine = ran(image, built(firmware), tmp_path_factory.mktemp("disk"))
    yield Kernel(machine)
    machine.stop()


def cache(kernel: Kernel) -> Any:
    return kernel.record("bf_cache", kernel.root.cache)


def slots(kernel: Kernel) -> dict[int, Any]:
    return {number: slot for number, slot in enumerate(cache(kernel).slots) if slot.state}


def file_name(slot: Any) -> str:
    return disk_name(f"{text(slot.name)}.O{slot.level}.mod")


def told(kernel: Kernel, reason: int) -> list[Any]:
    return [event for event in kernel.events_of("CACHE") if event.arg[2] == reason]


def used_blocks(kernel: Kernel) -> dict[int, int]:
    """Payload address and slot of every block of the cache."""
    table = kernel.record("bf_block_table", kernel.root.block_table)
    kinds = (layouts.const("BF_OWNER_CACHE"), layouts.const("BF_BLOCK_USED"))
    return {
        block.address + 16: block.owner
        for block in kernel.records("bf_block", table.blocks, table.count)
        if (block.owner_kind, block.state) == kinds
    }


def force(kernel: Kernel, name: str, level: int) -> None:
    MailHost(kernel, name).control("FORCE", level, "ALLOW")
    assert kernel.functions[name].level == level


def test_every_function_reaches_o3_with_images_from_disk(kernel: Kernel) -> None:
    assert {name: function.level for name, function in kernel.functions.items()} == dict.fromkeys(kernel.functions, 3)
    assert all(function.last_result == function.expected for function in kernel.functions.values())
    assert len(told(kernel, FROM_DISK)) == cache(kernel).misses > layouts.const("BF_CACHE_SLOTS")


def test_every_slot_holds_the_bytes_of_its_file(kernel: Kernel, firmware: Path) -> None:
    files = built(firmware)
    for slot in slots(kernel).values():
        assert kernel.read(slot.image, slot.image_size) == files[file_name(slot)]


def test_each_slot_owns_one_block_and_no_others_are_left(kernel: Kernel) -> None:
    assert used_blocks(kernel) == {slot.image: number for number, slot in slots(kernel).items()}


def test_published_are_the_tiers_that_run_now(kernel: Kernel) -> None:
    published = {text(slot.name): slot.level for slot in slots(kernel).values() if slot.state == PUBLISHED}
    assert published == {name: function.level for name, function in kernel.functions.items()}


def replay(kernel: Kernel) -> int:
    """Follows fills, publications and evictions by the events; returns how many evictions were right."""
    names, evictions = list(kernel.functions), 0
    held: dict[int, tuple[str, int]] = {}
    used: dict[tuple[str, int], int] = {}
    running: dict[str, int] = {}
    for order, event in enumerate(kernel.events_of("CACHE", "PUBLISH")):
        if event.type == layouts.const("BF_EVENT_PUBLISH"):
            name, level = names[event.id], event.arg[3] & 7
            used[name, running.get(name, 0)] = used[name, level] = order
            running[name] = level
            continue
        slot, level, reason = event.arg[:3]
        if reason == FROM_DISK:
            assert slot not in held
            held[slot] = names[event.id], level
            used[held[slot]] = order
        elif reason == EVICTED:
            free = {key: used[key] for key in held.values() if running.get(key[0]) != key[1]}
            assert held.pop(slot) == min(free, key=lambda key: free[key])
            evictions += 1
    assert held == {number: (text(slot.name), slot.level) for number, slot in slots(kernel).items()}
    return evictions


def test_what_leaves_is_never_published_and_was_executed_longest_ago(kernel: Kernel) -> None:
    assert replay(kernel) == cache(kernel).evictions == len(told(kernel, EVICTED)) > 0


def test_an_image_in_the_cache_is_not_read_again(kernel: Kernel) -> None:
    cached = next(slot for slot in slots(kernel).values() if slot.state == FILLED)
    before, reads = cache(kernel), len(kernel.events_of("DISK"))
    force(kernel, text(cached.name), cached.level)
    after = cache(kernel)
    assert (after.hits, after.misses, after.evictions) == (before.hits + 1, before.misses, before.evictions)
    assert len(kernel.events_of("DISK")) == reads
    assert [event.arg[1] for event in told(kernel, HIT)] == [cached.level]


def test_an_image_that_has_left_is_read_again_and_another_one_leaves(kernel: Kernel) -> None:
    """The second time too: the O3 that the first one retired ran last of all, and must not be the one to leave."""
    there = {(text(slot.name), slot.level) for slot in slots(kernel).values()}
    for name in [name for name in kernel.functions if (name, 2) not in there][:2]:
        before = cache(kernel)
        force(kernel, name, 2)
        after = cache(kernel)
        assert (after.misses, after.evictions) == (before.misses + 1, before.evictions + 1)
        there = {(text(slot.name), slot.level): slot.state for slot in slots(kernel).values()}
        assert (there[name, 2], there[name, 3]) == (PUBLISHED, FILLED)
    assert replay(kernel) == cache(kernel).evictions


@pytest.fixture(scope="module")
def damaged(image: Path, firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    files = built(firmware)
    broken = bytearray(files["PRIMES.O2"])
    broken[100] ^= 0x80
    changed = {
        "PRIMES.O2": bytes(broken),
        "STROPS.O1": version_1("strops", b"\x31\xc0\xc3"),
        "QUICKSOR.O1": files["PRIMES.O1"],
        "COMPUTE.O3": with_code(files["COMPUTE.O3"], 3, b"\x0f\x57\xc0\xc3"),
        "GEMM_TIL.O1": padded(files["GEMM_TIL.O1"], 300_000),
    }
    files = {name: content for name, content in (files | changed).items() if name != "REGEX_DF.O1"}
    machine = ran(image, files, tmp_path_factory.mktemp("damaged"))
    yield Kernel(machine)
    machine.stop()


@pytest.mark.parametrize(
    ("function", "level", "line"),
    [
        ("primes", 2, "[CACHE] PRIMES.O2 refused: the SHA-256 does not match\n"),
        ("strops", 1, "[CACHE] STROPS.O1 refused: it has no signature\n"),
        ("quicksort", 1, "[CACHE] QUICKSOR.O1 refused: it is another module's\n"),
        ("compute", 3, "[CACHE] COMPUTE.O3 refused: not for this CPU: code+0x3 has 0f 57 c0 c3\n"),
        ("gemm_tile", 1, "[CACHE] GEMM_TIL.O1 refused: 300000 bytes are more than an image may have\n"),
        ("regex_dfa", 1, "[FAT16] REGEX_DF.O1: no such file\n"),
    ],
)
def test_an_image_that_is_not_right_is_refused_and_no_code_of_it_runs(
    damaged: Kernel, function: str, level: int, line: str
) -> None:
    assert line in damaged.log
    assert level not in {version.level for version in damaged.versions(function)}
    assert (function, level) not in {(text(slot.name), slot.level) for slot in slots(damaged).values()}
    assert damaged.functions[function].last_result == damaged.functions[function].expected


def test_refused_images_leave_no_blocks_behind(damaged: Kernel) -> None:
    assert used_blocks(damaged) == {slot.image: number for number, slot in slots(damaged).items()}


def test_when_the_pool_has_no_room_older_images_leave(image: Path, firmware: Path, tmp_path: Path) -> None:
    files = built(firmware)
    large = {name: padded(files[name], 180_000) for name in ("COMPUTE.O1", "COMPUTE.O2", "COMPUTE.O3")}
    machine = ran(image, files | large, tmp_path)
    try:
        kernel = Kernel(machine)
        assert "DATA pool allocation failed\n[DISK] COMPUTE.O3: no memory for its 180000 bytes\n" in kernel.log
        compute = kernel.index("compute")
        left = [event.arg[1] for event in told(kernel, EVICTED) if event.id == compute]
        assert 1 in left and 3 not in left
        assert {name: function.level for name, function in kernel.functions.items()} == dict.fromkeys(
            kernel.functions, 3
        )
        assert replay(kernel) == cache(kernel).evictions
    finally:
        machine.stop()
