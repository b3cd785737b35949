"""The suite's answers about the real guest against sources that know nothing of the suite.

They are the guest's own JSON and log on COM1, symbols of the kernel ELF, the files that were built, memory
saved by QEMU, and CRCs and walks computed here.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.render.jsonable import to_json

CODE, DATA, METADATA = (0x200000, 0x40000), (0x240000, 0x80000), (0x2C0000, 0x20000)


@pytest.fixture(scope="module")
def guest(idle_machine: Machine) -> Guest:
    return Guest.attach(idle_machine.memory())


@pytest.fixture(scope="module")
def symbols(firmware: Path) -> dict[str, int]:
    """Name → address from the kernel ELF's symbol table."""
    with (firmware / "kernel.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}


def exported(machine: Machine, heading: str) -> dict[str, Any]:
    """The JSON that the guest itself printed under this heading."""
    text = wait_for_serial(machine, heading, 60).replace("\r", "").split(f"=== {heading} ===", 1)[1]
    body = text.split("--- BEGIN JSON ---", 1)[1].split("--- END JSON ---", 1)[0]
    parsed = json.loads(body)
    assert isinstance(parsed, dict)
    return parsed


def test_the_root_points_where_the_linker_put_things(guest: Guest, symbols: dict[str, int]) -> None:
    root = guest.root()
    assert guest.found_by == "image header"
    assert root.address == symbols["bareflow_root"]
    assert root.adaptive_jit == root.function_profiler == symbols["adaptive_jit"]
    assert root.module_manager == symbols["module_manager"]
    assert root.function_table == symbols["function_table"]
    assert root.version_table == symbols["version_table"]
    assert root.pools == symbols["g_pools"]
    assert root.status == symbols["bareflow_status"]
    assert root.exception == symbols["bareflow_exception"]
    assert root.log_buffer == symbols["bareflow_log"]
    assert root.module_images == symbols["module_images"]
    assert root.image_end == symbols["_end"]
    assert root.problems == ()


def test_the_build_id_is_that_of_the_elf(guest: Guest, firmware: Path) -> None:
    with (firmware / "kernel.elf").open("rb") as file:
        notes = ELFFile(file).get_section_by_name(".note.gnu.build-id").iter_notes()
        assert guest.root().build_id == next(note["n_desc"] for note in notes)


def test_the_boot_record_agrees_with_the_image_on_disk(guest: Guest, firmware: Path) -> None:
    kernel = (firmware / "kernel.bin").read_bytes()
    boot = guest.kernel().boot()
    assert boot.ok
    assert (boot.stage, boot.disk_method, boot.load_address) == ("idle", "lba", 0x10000)
    assert boot.sectors_needed == boot.sectors_read == -(-len(kernel) // 512)
    assert boot.signature == struct.unpack_from("<I", kernel)[0] == 0x464C5544
    assert boot.crc_computed == boot.crc_expected
    reached = [stage for stage in boot.stages if stage.reached]
    assert [stage.name for stage in reached] == [stage.name for stage in boot.stages[:14]]
    assert [stage.tsc for stage in reached] == sorted(stage.tsc for stage in reached)
    assert reached[-1].ms is not None
    assert 0 < reached[-1].ms < 120_000


def test_the_image_crc_is_computed_over_the_patched_copy(guest: Guest, idle_machine: Machine, firmware: Path) -> None:
    size = len((firmware / "kernel.bin").read_bytes())
    disk = (idle_machine.directory / "disk.img").read_bytes()
    image = bytearray(disk[9 * 512 : 9 * 512 + size])
    image[16:20] = bytes(4)
    assert guest.kernel().boot().crc_computed == zlib.crc32(image)


def test_the_modules_are_those_that_the_guest_exported(guest: Guest, idle_machine: Machine) -> None:
    told = exported(idle_machine, "PROFILING DATA EXPORT")
    modules = guest.kernel().modules(check=True)
    assert modules.count == told["num_modules"] >= 4
    assert modules.total_calls == told["total_calls"]
    for module, row in zip(modules.modules, told["modules"], strict=True):
        assert (module.name, module.calls, module.total_cycles) == (row["name"], row["calls"], row["total_cycles"])
        # The guest prints 0 for a minimum that was never measured.
        assert (module.min_cycles or 0, module.max_cycles) == (row["min_cycles"], row["max_cycles"])
        assert (module.min_cycles is None) == (row["calls"] == 0)
        assert (f"0x{module.code:08x}", module.code_size) == (row["code_address"], row["code_size"])
    assert modules.all_problems() == []
    assert {module.digest for module in modules.modules} == {"right"}


def test_each_module_header_in_memory_is_that_of_the_file_that_was_built(guest: Guest, firmware: Path) -> None:
    for module in guest.kernel().modules().modules:
        file = (firmware / "modules" / f"{module.name}.O0.mod").read_bytes()
        magic, name, entry, size, version = struct.unpack_from("<4s32sIII", file)
        assert module.header is not None
        assert (magic, name.rstrip(b"\0").decode()) == (b"BDOM", module.header.name)
        assert (entry, size, version) == (module.header.entry_point, module.header.code_size, module.header.version)
        assert module.image_size == len(file)
        assert guest.memory.read(module.image, len(file), "image") == file


def test_the_profile_is_the_one_that_the_guest_exported(guest: Guest, idle_machine: Machine) -> None:
    told = exported(idle_machine, "FUNCTION PROFILING DATA EXPORT")
    profile = guest.kernel().profile()
    rows = {row["name"]: row for row in told["modules"]}
    assert profile.total_calls == told["total_calls"]
    assert {function.name for function in profile.functions} == set(rows)
    for function in profile.functions:
        row = rows[function.name]
        assert (function.calls, function.total_cycles) == (row["calls"], row["total_cycles"])
        assert (function.min_cycles, function.max_cycles) == (row["min_cycles"], row["max_cycles"])
        assert f"0x{function.address:08x}" == row["code_address"]
        assert (function.level, function.hot) == (3, True)
    cycles = [function.total_cycles for function in profile.functions]
    assert cycles == sorted(cycles, reverse=True)


def test_the_pools_are_what_their_block_headers_say(guest: Guest, idle_machine: Machine) -> None:
    pools = {pool.kind: pool for pool in guest.kernel().pools(check=True).pools}
    assert guest.kernel().pools(check=True).all_problems() == []
    for kind, (base, size) in {"code": CODE, "data": DATA, "metadata": METADATA}.items():
        saved = idle_machine.read_physical(base, size)
        walked = []
        at = 0
        while at < size:
            magic, payload, _, free = struct.unpack_from("<4I", saved, at)
            assert magic == 0xDEADBEEF
            walked.append((base + at + 16, payload, "free" if free else "used"))
            at += 16 + payload
        pool = pools[kind]
        assert (pool.base, pool.size) == (base, size)
        assert [(block.address, block.size, block.state) for block in pool.blocks] == walked
        assert pool.used == sum(payload + 16 for _, payload, state in walked if state == "used")
        assert pool.free == size - pool.used == pool.free_computed
        assert pool.fragmentation == pool.fragmentation_computed
        assert pool.allocations - pool.frees == sum(state == "used" for _, _, state in walked)


def test_every_version_has_the_block_it_says_and_its_code_the_crc_it_says(guest: Guest, idle_machine: Machine) -> None:
    owners = {block.address: block for block in guest.kernel().pools("code").pools[0].blocks}
    versions = guest.kernel().versions()
    assert [version.number for version in versions] == list(range(1, len(versions) + 1))
    for version in versions:
        block = owners[version.code]
        assert (block.owner_kind, block.owner) == ("version", version.number)
        assert block.owner_name == version.title
        code = idle_machine.read_physical(version.code, version.code_size)
        assert zlib.crc32(code) == version.code_crc
        assert version.same_as == _same(version, versions, idle_machine)


def _same(version: Any, versions: tuple[Any, ...], machine: Machine) -> int:
    """The oldest version of the function with the same code; functions with rodata differ by its address."""
    if version.rodata_size:
        return int(version.same_as)
    mine = machine.read_physical(version.code, version.code_size)
    for other in versions:
        older = other.function == version.function and other.number < version.number
        if older and machine.read_physical(other.code, other.code_size) == mine:
            return int(other.number)
    return 0


def test_the_jit_runs_what_is_in_the_slots(guest: Guest, idle_machine: Machine, symbols: dict[str, int]) -> None:
    jit = guest.kernel().jit()
    assert jit.problems == ()
    assert (jit.enabled, jit.thresholds, jit.count) == (True, (10, 20, 30), len(jit.functions))
    for index, function in enumerate(jit.functions):
        slot = symbols["adaptive_jit"] + 6672 + 48 * index + 20
        (value,) = struct.unpack("<I", idle_machine.read_physical(slot, 4))
        assert (function.slot, function.current_code) == (slot, value)
        assert function.agrees
        assert (function.level, function.next_threshold) == (3, None)
        assert function.last_result == function.expected
        assert [version.level for version in function.versions] == [0, 1, 2, 3]
        assert [version.state for version in function.versions] == ["retired"] * 3 + ["published"]
        assert function.level_codes == tuple(version.entry for version in function.versions)
        assert function.calls == 31


def test_the_swaps_are_those_of_the_guests_log(guest: Guest, idle_machine: Machine) -> None:
    told = [
        line.removeprefix("[RECOMPILE] ").split(": ")
        for line in idle_machine.serial().replace("\r", "").splitlines()
        if line.startswith("[RECOMPILE]") and " -> " in line
    ]
    swaps = guest.kernel().swaps()
    assert [[swap.function, f"O{swap.from_level} -> O{swap.to_level}"] for swap in swaps.swaps] == told
    assert swaps.swap_count == len(told)
    assert swaps.forgotten == 0
    for swap in swaps.swaps:
        assert swap.call == (10, 20, 30)[swap.to_level - 1]
        assert swap.reason == "threshold"
        assert swap.tsc_threshold is not None
        assert swap.tsc_first is not None
        assert swap.tsc_threshold < swap.tsc < swap.tsc_first


def test_code_that_the_log_calls_equal_is_called_equal(guest: Guest, idle_machine: Machine) -> None:
    log = idle_machine.serial()
    for function in guest.kernel().jit().functions:
        for version in function.versions:
            older = next((v for v in function.versions if v.number == version.same_as), None)
            line = f"{function.name}: O{version.level} code equals O{older.level if older else '?'}"
            assert (line in log) == (older is not None)


def test_the_log_buffer_holds_the_end_of_the_serial_output(guest: Guest, idle_machine: Machine) -> None:
    log = guest.kernel().log()
    printed = idle_machine.serial().replace("\r\n", "\n")
    assert len(log.text) > 4000
    assert printed.endswith(log.text)


def test_the_events_of_the_ring_are_numbered_without_a_gap_and_in_time(guest: Guest) -> None:
    ring = guest.kernel().rings()[0]
    events = [event for event in guest.kernel().events(100_000) if event.ring == 0]
    assert [event.seq for event in events] == list(range(ring.head))
    assert [event.tsc for event in events] == sorted(event.tsc for event in events)
    assert sum(event.type == "publish" for event in events) == read_counters(guest.memory, guest.root()).swap_count


def test_bitcode_is_found_whole(guest: Guest, firmware: Path) -> None:
    carried = [bitcode for bitcode in guest.kernel().bitcode() if bitcode.address]
    assert {"fibonacci", "sum", "compute", "primes"} <= {bitcode.function for bitcode in carried}
    for bitcode in carried:
        wrapped = (firmware / "modules" / f"{bitcode.function}.bc.wrapped").read_bytes()
        assert bitcode.problems == ()
        assert guest.memory.read(bitcode.address, bitcode.size, "bitcode") == wrapped
        assert (bitcode.module, bitcode.entry) == (bitcode.function, f"{bitcode.function}_main")


def test_every_kind_of_address_is_identified(guest: Guest, symbols: dict[str, int]) -> None:
    jit = guest.kernel().jit()
    for function in jit.functions:
        found = guest.kernel().identify(function.slot)
        assert (found.name, found.function) == (f"JIT entry {function.index}, current_code", function.name)
        for version in function.versions:
            found = guest.kernel().identify(version.code + version.code_size - 1)
            assert (found.function, found.version, found.level) == (function.name, version.number, version.level)
    for module in guest.kernel().modules().modules:
        assert guest.kernel().identify(module.code).name == f"module {module.name}"
        assert guest.kernel().identify(module.image + 8).name == f"image of module {module.name}"
    assert guest.kernel().identify(symbols["memcpy"]).name == "memcpy"
    assert guest.kernel().identify(guest.kernel().mailbox().slots[1].address).name == "mailbox slot 1, state"


def test_status_sums_it_up(guest: Guest) -> None:
    status = guest.kernel().status()
    assert status.ok, status.problems
    assert (status.stage, status.thresholds, status.exception) == ("idle", (10, 20, 30), "")
    assert status.swap_count == 3 * len(status.functions)
    assert to_json(status)["functions"][0]["expected"] == 6765
