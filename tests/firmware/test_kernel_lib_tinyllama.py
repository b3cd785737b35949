"""Does the TinyLlama unikernel boot, profile and optimise itself, and show itself? On the real guest."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from machines import SECONDS

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, RootSettings, decode_image_header, image_crc, read_image_header
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

END = "[tinyllama] Demo complete. System halted."
DEMOS = {"fibonacci": 10, "sum_to_n": 100, "count_primes": 5}
GREEN, YELLOW = 0x0A, 0x0E


def until_the_end(image: Path, **options: Any) -> Machine:
    machine = launch(image, **options)
    try:
        wait_for_serial(machine, END, SECONDS)
        wait_for_stage(machine, "idle", SECONDS)
    except BaseException:
        machine.stop()
        raise
    return machine


@pytest.fixture(scope="module")
def machine(firmware: Path) -> Iterator[Machine]:
    """The unikernel with the debug interface, its demo done."""
    machine = until_the_end(firmware / "tinyllama.img")
    yield machine
    machine.stop()


@pytest.fixture(scope="module")
def symbols(firmware: Path) -> dict[str, int]:
    with (firmware / "tinyllama_bare.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}


def serial(machine: Machine) -> list[str]:
    return machine.serial_path.read_text().splitlines()


def exported(lines: list[str]) -> dict[str, Any]:
    begin, end = lines.index("--- BEGIN JSON ---"), lines.index("--- END JSON ---")
    assert (lines[begin - 1], lines[begin + 1], lines[end - 1]) == ("=== PROFILING DATA EXPORT ===", "{", "}")
    document: dict[str, Any] = json.loads("\n".join(lines[begin + 1 : end]))
    return document


def structure(machine: Machine, name: str, address: int) -> Any:
    return layouts.unpack(name, machine.memory().read(address, layouts.size(name), name))


def root(machine: Machine) -> Any:
    return structure(machine, "bf_root", read_image_header(machine.image).root)


def profile(machine: Machine) -> dict[str, Any]:
    decoded = structure(machine, "jit_profile", root(machine).jit_profile)
    entries = decoded.entries[: decoded.num_functions]
    return {bytes(entry.name).split(b"\0")[0].decode(): entry for entry in entries}


def functions(machine: Machine) -> dict[str, Any]:
    found = root(machine)
    count = structure(machine, "bf_status", found.status).function_count
    raw = machine.memory().read(found.function_table, count * layouts.size("bf_function"), "function table")
    records = layouts.unpack_array("bf_function", raw, count)
    return {bytes(one.name).split(b"\0")[0].decode(): one for one in records}


def boot_seconds(machine: Machine) -> float:
    """From the boot sector's first instructions to main."""
    record = structure(machine, "bf_boot_record", layouts.const("BF_BOOT_RECORD_ADDRESS"))
    first, main = (layouts.const(f"BF_STAGE_{stage}") for stage in ("STAGE1", "RUNNING"))
    ticks = record.stage_tsc[main] - record.stage_tsc[first]
    return float(ticks / structure(machine, "bf_status", root(machine).status).tsc_hz)


def test_the_demo_says_on_com1_what_stock_unikernels_say(machine: Machine) -> None:
    lines = serial(machine)
    assert lines[0] == "[serial] init ok"
    wanted = [
        r"\[tinyllama\] TinyLlama Unikernel v0\.1 - Self-Profiling Demo",
        r"\[tinyllama\] fibonacci\(10\) = 55  \[OK\]",
        r"\[tinyllama\] sum_to_n\(1000\) = 500500  \[OK\]",
        r"\[tinyllama\] count_primes\(100\) = 25  \[OK\]",
        r"=== JIT Profiling Statistics ===",
        r"fibonacci: calls=10, avg=\d+, min=\d+, max=\d+",
        r"sum_to_n: calls=100, avg=\d+, min=\d+, max=\d+",
        r"count_primes: calls=5, avg=\d+, min=\d+, max=\d+",
        r"=== PROFILING DATA EXPORT ===",
        r"\[BENCH\] 10000 calls: \d+ cycles bare, \d+ profiled; \d+ and \d+ a call",
        r"\[TIMING\] Init: \d+ cycles",
        r"\[TIMING\] Total: \d+ cycles",
        re.escape(END),
    ]
    rest = iter(lines)
    for pattern in wanted:
        assert any(re.fullmatch(pattern, line) for line in rest), f"{pattern} is missing or out of order"
    assert lines[-1] == END
    # Both count from the kernel's first instruction.
    init, total = re.findall(r"\[TIMING\] \w+: (\d+) cycles", "\n".join(lines))
    assert int(init) < int(total)


def test_functions_run_at_the_levels_that_were_asked_for_and_still_give_the_right_results(machine: Machine) -> None:
    lines = serial(machine)
    for change in ("sum_to_n: O0 -> O1", "count_primes: O0 -> O2"):
        at = lines.index(f"[RECOMPILE] {change}")
        assert lines[at + 1 : at + 3] == [f"[ATOMIC-SWAP] Code pointer updated to {change[-2:]}", f"[JIT] {change}"]
    assert not any(line.startswith(("[JIT] fibonacci", "[RECOMPILE] fibonacci")) for line in lines)
    assert lines.count("[tinyllama] sum_to_n(1000) = 500500  [OK]") == 2
    assert lines.count("[tinyllama] count_primes(100) = 25  [OK]") == 2


def test_the_profile_in_memory_the_json_and_the_statistics_are_equal(machine: Machine) -> None:
    lines = serial(machine)
    document = exported(lines)
    entries = profile(machine)
    assert document["format_version"] == "1.0"
    assert (document["num_modules"], document["total_calls"]) == (3, 115)
    assert {name: entry.call_count for name, entry in entries.items()} == DEMOS
    for module in document["modules"]:
        entry = entries[module["name"]]
        fields = ("call_count", "total_cycles", "min_cycles", "max_cycles")
        printed = [module[field] for field in ("calls", *fields[1:])]
        assert printed == [getattr(entry, field) for field in fields]
        average = entry.total_cycles // entry.call_count
        line = f"calls={entry.call_count}, avg={average}, min={entry.min_cycles}, max={entry.max_cycles}"
        assert f"{module['name']}: {line}" in lines


def test_the_json_gives_the_address_of_the_code_that_runs(machine: Machine, symbols: dict[str, int]) -> None:
    addresses = {module["name"]: int(module["code_address"], 16) for module in exported(serial(machine))["modules"]}
    memory, slots = machine.memory(), functions(machine)
    assert addresses == {name: read_word(memory, function.slot, "slot") for name, function in slots.items()}
    # The linked code, moved into the pool as it is.
    for name, level in (("fibonacci", 0), ("sum_to_n", 1), ("count_primes", 2)):
        first = symbols[f"{name}_O{level}"]
        size = symbols[f"__stop_jit_{name}_O{level}"] - first
        assert memory.read(addresses[name], size, "code") == memory.read(first, size, "linked code")


@pytest.mark.parametrize("level", ["O0", "O1", "O2"])
def test_the_linked_code_names_no_address_outside_itself(firmware: Path, level: str) -> None:
    with (firmware / f"tinyllama/functions.{level}.o").open("rb") as file:
        elf = ELFFile(file)
        tables = [s for s in elf.iter_sections() if s.name.startswith(".rel.jit_")]
        names = elf.get_section_by_name(".symtab")
        for table in tables:
            own = table.name.removeprefix(".rel.jit_")
            for entry in table.iter_relocations():
                assert names.get_symbol(entry["r_info_sym"]).name == own
                assert entry["r_info_type"] in (2, 4)  # R_386_PC32, R_386_PLT32


def test_an_image_without_the_debug_interface_runs_its_code_where_it_was_linked(firmware: Path) -> None:
    machine = until_the_end(firmware / "tinyllama_nodebug.img")
    try:
        with (firmware / "tinyllama_nodebug.elf").open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            linked = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}
        addresses = {one["name"]: int(one["code_address"], 16) for one in exported(serial(machine))["modules"]}
        assert addresses == {
            "fibonacci": linked["fibonacci_O0"],
            "sum_to_n": linked["sum_to_n_O1"],
            "count_primes": linked["count_primes_O2"],
        }
    finally:
        machine.stop()


def test_the_screen_shows_the_header_in_green_and_the_statistics_in_yellow(machine: Machine) -> None:
    cells = machine.memory().screen()
    rows = [
        (cells[row : row + 160 : 2].decode("cp437").rstrip(), set(cells[row + 1 : row + 160 : 2]))
        for row in range(0, 4000, 160)
    ]
    colours = {text: colour for text, colour in rows if text}
    assert GREEN in colours["TinyLlama Unikernel v0.1"]
    statistics = [text for text in colours if text.startswith(("=== JIT", "fibonacci:", "sum_to_n:", "count_primes:"))]
    assert len(statistics) == 4
    assert all(YELLOW in colours[text] for text in statistics)
    assert END in colours
    assert not any("format_version" in text for text in colours)


def test_the_root_descriptor_says_that_it_is_a_unikernel_and_leads_to_its_tables(
    machine: Machine, symbols: dict[str, int]
) -> None:
    found = root(machine)
    assert found.variant == layouts.const("BF_VARIANT_UNIKERNEL")
    assert found.jit_profile == symbols["jit_profile"]
    assert found.exception == symbols["bareflow_exception"]
    assert (found.module_manager, found.module_images, found.cache, found.fat16) == (0, 0, 0, 0)
    tables = {
        "adaptive_jit": "adaptive_jit",
        "function_profiler": "adaptive_jit",
        "function_table": "function_table",
        "version_table": "version_table",
        "version_causes": "version_causes",
        "pools": "g_pools",
    }
    assert {field: getattr(found, field) for field in tables} == {f: symbols[name] for f, name in tables.items()}
    assert found.mailbox == layouts.const("BF_MAILBOX_HEADER")
    size = layouts.size("bf_symbol")
    raw = machine.memory().read(found.exports, size * found.export_count, "exports")
    table = layouts.unpack_array("bf_symbol", raw, found.export_count)
    names = {bytes(entry.name).rstrip(b"\0").decode(): entry.address for entry in table}
    assert len(names) == 53
    assert "bareflow_publish_store" in names
    assert names == {name: symbols[name] for name in names}


def test_the_event_ring_holds_the_boot_stages_in_order(machine: Machine) -> None:
    header = structure(machine, "bf_ring_header", root(machine).rings[0])
    assert header.magic == layouts.const("BF_RING_MAGIC")
    size = layouts.size("bf_event")
    raw = machine.memory().read(header.records, size * header.head, "ring 0")
    boot = layouts.const("BF_EVENT_BOOT")
    events = layouts.unpack_array("bf_event", raw, header.head)
    stages = [event.id for event in events if event.type == boot]
    assert stages == sorted(stages)
    assert stages[-2:] == [layouts.const("BF_STAGE_IDLE"), layouts.const("BF_STAGE_HALTED")]


def test_every_level_change_is_a_version_and_a_swap_event(machine: Machine) -> None:
    header = structure(machine, "bf_ring_header", root(machine).rings[0])
    raw = machine.memory().read(header.records, layouts.size("bf_event") * header.head, "ring 0")
    events = layouts.unpack_array("bf_event", raw, header.head)
    publish, first = layouts.const("BF_EVENT_PUBLISH"), layouts.const("BF_EVENT_FIRST_EXECUTION")
    application = layouts.const("BF_REASON_APPLICATION")
    told = [(event.id, event.arg[3] & 7, event.arg[3] >> 3 & 0x1F) for event in events if event.type == publish]
    assert told == [(1, 1, application), (2, 2, application)]
    assert len([event for event in events if event.type == first]) == 5
    slots = functions(machine)
    assert [(one.level, one.version) for one in slots.values()] == [(0, 1), (1, 4), (2, 5)]
    assert [(one.last_result, one.expected) for one in slots.values()] == [(55, 55), (500500, 500500), (25, 25)]


def test_main_is_reached_within_a_second_of_the_boot_sector(firmware: Path) -> None:
    # At a nanosecond an instruction, whatever else the host does.
    machine = until_the_end(firmware / "tinyllama.img", icount=0)
    try:
        assert 0 < boot_seconds(machine) <= 1.0
    finally:
        machine.stop()


def test_thresholds_set_before_the_run_change_the_levels(firmware: Path) -> None:
    settings = RootSettings(thresholds=(5, 10, 100))
    machine = until_the_end(firmware / "tinyllama.img", settings=settings)
    try:
        assert "[JIT] fibonacci: O0 -> O2" in serial(machine)
        assert "[JIT] sum_to_n: O0 -> O2" in serial(machine)
    finally:
        machine.stop()


def test_a_hold_stops_the_application_before_main_until_it_is_released(firmware: Path) -> None:
    machine = launch(firmware / "tinyllama.img", settings=RootSettings(hold=1))
    try:
        wait_for_stage(machine, "registered", SECONDS)
        assert not any(line.startswith("[tinyllama]") for line in serial(machine))
        hold = read_image_header(machine.image).root + layouts.offset("bf_root", "hold")
        machine.memory().write(hold, bytes(4), "hold")
        wait_for_serial(machine, END, SECONDS)
    finally:
        machine.stop()


def test_profiling_a_call_costs_at_most_65_instructions(firmware: Path) -> None:
    machine = until_the_end(firmware / "tinyllama.img", icount=0)
    try:
        [line] = [line for line in serial(machine) if line.startswith("[BENCH]")]
        bare, profiled = map(int, re.findall(r"(\d+) (?:cycles bare|profiled)", line))
        # Under icount the TSC counts nanoseconds of virtual time, one for each instruction.
        assert 0 < (profiled - bare) / 10_000 <= 65
    finally:
        machine.stop()


def test_without_the_debug_interface_the_same_demo_runs(firmware: Path) -> None:
    machine = until_the_end(firmware / "tinyllama_nodebug.img")
    try:
        assert read_image_header(machine.image).root == 0
        lines = serial(machine)
        assert exported(lines)["total_calls"] == 115
        assert "[JIT] sum_to_n: O0 -> O1" in lines
        ring = machine.memory().read(layouts.const("BF_RING0_HEADER"), 64, "where the ring would be")
        assert ring == bytes(64)
    finally:
        machine.stop()


@pytest.mark.parametrize(("name", "limit"), [("tinyllama_bare", 32 * 1024), ("tinyllama_nodebug", 14 * 1024)])
def test_the_image_begins_with_flud_and_is_small(firmware: Path, name: str, limit: int) -> None:
    image = (firmware / f"{name}.bin").read_bytes()
    assert image[:4] == b"DULF"
    assert len(image) <= limit
    header = decode_image_header(image, name)
    assert (header.image_bytes, header.crc) == (len(image), image_crc(image))


def test_the_disk_has_10_mib(firmware: Path) -> None:
    assert (firmware / "tinyllama.img").stat().st_size == 20480 * SECTOR == 10 * 1024 * 1024


def test_the_library_has_at_most_15_kib_of_code_and_data(firmware: Path) -> None:
    library = firmware / "kernel_lib/kernel_lib.a"
    printed = subprocess.run(["llvm-size-19", "-t", library], check=True, capture_output=True, text=True).stdout
    code, data, *_ = printed.splitlines()[-1].split()
    assert int(code) + int(data) <= 15 * 1024
