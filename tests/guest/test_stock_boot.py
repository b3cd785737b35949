"""The stock kernels in QEMU: what they print where, the records on their stack, their pools, their last state."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import Boot
from stock_twin import locals_of, symbols

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.fat_image import DiskFile, fat16_image
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.boot.wait import wait, wait_for_serial
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

BOOT_SECONDS = 120.0
END_OF_RUN = "--- END JSON ---"
STACK_BOTTOM, STACK_TOP = 0x80000, 0x90000
# EBP of the main function: return address and the caller's EBP are above it.
MAIN_FRAME = STACK_TOP - 8
LOADER_STAGE2 = range(0x7E00, 0x8E00)

FIRST_150_CALLS = """\
[serial] init ok
[ADAPTIVE-JIT] Initialized
[ADAPTIVE-JIT] Registered: fibonacci
[Call 1] Initial execution at O0
[RECOMPILE] fibonacci: O0 -> O1
[ATOMIC-SWAP] Code pointer updated to O1
[Call 100] Threshold reached - recompiling to O1...
[Call 101] Now running at O1
=== PROFILING STATISTICS ===
Total calls: 150
Final optimization level: O1
Recompilations triggered: 1 (O0->O1)
"""
THE_REST_OF_THE_RUN = """\
=== PROFILING STATISTICS ===
Total calls: 10001
Final optimization level: O3
Recompilations triggered: 3 (O0->O1->O2->O3)
"""
# What the kernel with the adaptive JIT prints on VGA only, and on COM1 only.
VGA_ONLY = ("[OK]", "[WARN]", "[CACHE]", "[DISK]", "[FAT16]", "[TEST", "[BITCODE]", "[EXCEPTION]", "MODULE SYSTEM")
COM1_ONLY = ("[ADAPTIVE-JIT]", "[Call", "[RECOMPILE]", "[ATOMIC-SWAP]", "JSON", "[serial]")


@pytest.fixture(scope="module")
def stock(firmware: Path) -> Path:
    return firmware / "stock"


@pytest.fixture(scope="module")
def kernel(stock: Path) -> Iterator[Machine]:
    """The stock kernel at its last halt, with its disk."""
    machine = launch(stock / "stock.img", disk=stock / "stock_disk.img")
    wait_for_serial(machine, END_OF_RUN, BOOT_SECONDS)
    wait_for_screen(machine, "System halted.")
    yield machine
    machine.stop()


@pytest.fixture(scope="module")
def unikernel(stock: Path) -> Iterator[Machine]:
    """The stock unikernel at its last halt."""
    machine = launch(stock / "stock_unikernel.img")
    wait_for_serial(machine, "System halted.\n", BOOT_SECONDS)
    yield machine
    machine.stop()


def lines(machine: Machine) -> list[str]:
    """The screen's text."""
    characters = machine.read_screen()[::2].decode("latin-1")
    return [characters[at : at + 80].rstrip() for at in range(0, len(characters), 80)]


def wait_for_screen(machine: Machine, text: str) -> list[str]:
    wait(machine, lambda: any(text in line for line in lines(machine)), BOOT_SECONDS, f"the screen text {text!r}")
    return lines(machine)


def press_a_key(machine: Machine) -> None:
    machine.qmp("send-key", keys=[{"type": "qcode", "data": "spc"}])


def registers(machine: Machine) -> dict[str, int]:
    """CR0, EBP and the like by QEMU's monitor."""
    text = machine.qmp("human-monitor-command", command_line="info registers")
    found = {name: int(value, 16) for name, value in re.findall(r"(\w+) *=([0-9a-f]{8})\b", text)}
    found["GDT"], found["HLT"] = int(text.split("GDT=")[1].split()[0], 16), int(text.split("HLT=")[1][0])
    return found


def gdb(machine: Machine, *commands: str) -> str:
    """What plain gdb prints while it does this with a paused machine, which then runs on."""
    words = ["/usr/bin/gdb", "-nx", "-batch", "-ex", f"target remote {machine.gdb_socket}"]
    for command in (*commands, "detach"):
        words += ["-ex", command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=BOOT_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii")


def string(memory: QemuRam, address: int) -> str:
    return text(memory.read(address, 32, "a name"))


def local(memory: QemuRam, twin: Path, name: str) -> tuple[int, Any]:
    """A local of the main function, by the place that the twin's debug information gives: address, record."""
    kind, offset = locals_of(twin, "kernel_main")[name]
    address = MAIN_FRAME + offset
    return address, layouts.unpack(kind, memory.read(address, layouts.size(kind), kind))


def test_com1_has_the_adaptive_jits_log_to_the_letter(kernel: Machine) -> None:
    log = kernel.serial()
    assert log.startswith(FIRST_150_CALLS)
    assert THE_REST_OF_THE_RUN in log
    for name in ("fibonacci", "sum", "compute"):
        steps = [line for line in log.splitlines() if line.startswith(f"[RECOMPILE] {name}:")]
        assert steps == [f"[RECOMPILE] {name}: O{level} -> O{level + 1}" for level in range(3)]
    assert "ERROR" not in log


def test_com1_has_the_profile_as_json(kernel: Machine) -> None:
    log = kernel.serial()
    assert "=== PROFILING DATA EXPORT ===\n--- BEGIN JSON ---\n{\n" in log
    exported = json.loads(log.split("--- BEGIN JSON ---")[1].split(END_OF_RUN)[0])
    calls = {module["name"]: module["calls"] for module in exported["modules"]}
    assert calls == {"sum": 1, "fibonacci": 1, "compute": 10, "primes": 1, "matrix_mul": 5, "gemm_tile": 1}
    assert exported["total_calls"] == sum(calls.values())
    assert exported["format_version"] == "1.0"


def test_what_belongs_to_vga_is_not_on_com1_and_the_other_way_round(kernel: Machine) -> None:
    assert [word for word in VGA_ONLY if word in kernel.serial()] == []
    screen = "\n".join(lines(kernel))
    assert "MODULE SYSTEM STATISTICS\nTotal modules loaded: 6\nTotal calls: 19\n" in screen
    assert [word for word in COM1_ONLY if word in screen] == []


def test_an_interactive_kernel_shows_every_vga_line_page_by_page(stock: Path, launched: Boot) -> None:
    machine = launched(stock / "stock_interactive.img", disk=stock / "stock_disk.img")
    first = wait_for_screen(machine, "Press any key: the module tests")
    expected = [
        r"\[INIT\] Loading embedded modules\.\.\.",
        r"\[OK\] Module loaded: sum \(entry: 0x000[0-9a-f]{5}\)",
        r"\[OK\] Module loaded: fibonacci \(entry: 0x000[0-9a-f]{5}\)",
        r"\[OK\] Module loaded: compute \(entry: 0x000[0-9a-f]{5}\)",
        r"\[OK\] Module loaded: primes \(entry: 0x000[0-9a-f]{5}\)",
        r"\[CACHE\] Replaced embedded module 'primes' with cached version",
        r"\[DISK\] Attempting to load modules from FAT16\.\.\.",
        r"\[FAT16\] Initialized successfully",
        r"\[OK\] Module loaded: matrix_mul \(entry: 0x000[0-9a-f]{5}\)",
        r"\[OK\] Module loaded: gemm_tile \(entry: 0x000[0-9a-f]{5}\)",
        r"\[WARN\] Module already loaded: primes",
        r"\[DISK\] Loaded 2 modules",
        r"\[BITCODE\] primes: entry primes_main, \d+ bytes, O0",
    ]
    assert first[0] == "DYNAMIC MODULE SYSTEM - LLVM AOT"
    for line, pattern in zip(first[1:], expected, strict=False):
        assert re.fullmatch(pattern, line)
    press_a_key(machine)
    second = wait_for_screen(machine, "Press any key: the module statistics")
    assert second.count("  [OK] Test passed!") == 6
    assert "  Result: 4488500 (expected: 4488500)" in second
    press_a_key(machine)
    wait_for_screen(machine, "Press any key: the adaptive run")
    log = machine.serial()
    assert "[ADAPTIVE-JIT] Registered: fibonacci" in log
    assert "[Call 1]" not in log
    press_a_key(machine)
    wait_for_serial(machine, END_OF_RUN, BOOT_SECONDS)


def test_a_disk_with_something_else_on_it_is_told_on_vga(stock: Path, launched: Boot, tmp_path: Path) -> None:
    good = (stock / "modules" / "gemm_tile.O0.mod").read_bytes()
    newer = good[:44] + (2).to_bytes(4, "little") + good[48:]
    files = [DiskFile("BROKEN.MOD", b"no module" * 20), DiskFile("NEWER.MOD", newer), DiskFile("GEMM_TIL.MOD", good)]
    disk = tmp_path / "disk.img"
    disk.write_bytes(fat16_image(files))
    machine = launched(stock / "stock_interactive.img", disk=disk)
    screen = wait_for_screen(machine, "Press any key")
    assert "[ERROR] Invalid module magic" in screen
    assert "[ERROR] Module gemm_tile: header version 2 is not 1" in screen
    assert "[DISK] Loaded 1 modules" in screen
    press_a_key(machine)
    assert "[TEST 6] Tiled GEMM Module from Disk" in wait_for_screen(machine, "Press any key: the module statistics")


def test_without_a_disk_and_as_a_floppy_it_boots_and_an_exception_is_told_on_vga_only(
    stock: Path, launched: Boot
) -> None:
    machine = launched(stock / "stock_interactive.img", floppy=True)
    screen = wait_for_screen(machine, "Press any key")
    assert "[FAT16] No disk" in screen
    assert "[DISK] Using embedded modules" in screen
    machine.qmp("inject-nmi")
    screen = wait_for_screen(machine, "[EXCEPTION] System halted.")
    assert "[EXCEPTION] CPU Exception caught!" in screen
    assert any(line.startswith("[EXCEPTION] vector 2, error code 0x00000000, EIP 0x0001") for line in screen)
    assert "EXCEPTION" not in machine.serial()


@pytest.mark.parametrize(("signature", "code"), [(bytes(4), "0xE0"), (b"FLUD", "0x51")])
def test_a_disk_without_a_stock_kernel_ends_in_a_fatal_code(
    stock: Path, launched: Boot, tmp_path: Path, signature: bytes, code: str
) -> None:
    disk = bytearray((stock / "stock.img").read_bytes())
    at = layouts.const("BF_IMAGE_LBA") * 512
    disk[at : at + 4] = signature
    image = tmp_path / "disk.img"
    image.write_bytes(disk)
    wait_for_serial(launched(image), f"FATAL ERROR: {code}", BOOT_SECONDS)


def test_three_functions_reach_o3_each_with_code_of_its_own_for_every_level(kernel: Machine, stock: Path) -> None:
    memory = kernel.memory()
    _, jit = local(memory, stock / "stock_twin.elf", "jit")
    names = [string(memory, jit.profiler.functions[i].name) for i in range(jit.profiler.function_count)]
    assert names == ["fibonacci", "sum", "compute"]
    assert (jit.function_count, jit.enabled, jit.profiler.jit_enabled) == (3, 1, 1)
    assert jit.profiler.total_calls == 3 * 10001
    buffers = set()
    for entry in jit.functions[: jit.function_count]:
        profile = jit.profiler.functions[entry.profiler_id]
        versions = [entry.code_v0, entry.code_v1, entry.code_v2, entry.code_v3]
        assert entry.current_code == profile.address == entry.code_v3
        assert (entry.compiled_level, profile.opt_level, entry.is_active) == (3, 3, 1)
        assert (profile.call_count, profile.is_hot, profile.needs_recompile) == (10001, 1, 0)
        assert profile.min_cycles <= profile.total_cycles // profile.call_count <= profile.max_cycles
        context = entry.jit_ctx
        buffer = range(context.code_buffer, context.code_buffer + context.code_capacity)
        assert (context.code_capacity, context.allocator) == (8192, symbols(stock / "stock.elf")["g_pools"])
        assert versions[0] not in buffer
        assert all(version in buffer for version in versions[1:])
        name = string(memory, profile.name)
        for level, version in enumerate(versions):
            code = (stock / "modules" / f"{name}.O{level}.mod").read_bytes()[48:]
            # Up to the data at its end, which the code may have written.
            assert memory.read(version, 64, "code") == code[:64]
        buffers.add(context.code_buffer)
    assert len(buffers) == 3


def test_the_records_on_the_stack_are_found_by_their_signature_where_the_twin_says(
    kernel: Machine, stock: Path
) -> None:
    memory = kernel.memory()
    region = memory.read(STACK_BOTTOM, STACK_TOP - STACK_BOTTOM, "stack region")
    address, manager = local(memory, stock / "stock_twin.elf", "manager")
    assert STACK_BOTTOM + region.find(b"sum".ljust(32, b"\0")) == address
    assert manager.num_modules == 6
    for index, name in enumerate(("sum", "fibonacci", "compute", "primes", "matrix_mul", "gemm_tile")):
        assert text(manager.modules[index].name) == name
        at = address - STACK_BOTTOM + 84 * index
        assert region[at : at + 32] == name.encode().ljust(32, b"\0")
    _, jit = local(memory, stock / "stock_twin.elf", "jit")
    first = jit.functions[0]
    slot = MAIN_FRAME + locals_of(stock / "stock_twin.elf", "kernel_main")["jit"][1] + 6672
    words = b"".join(word.to_bytes(4, "little") for word in (first.profiler_id, first.code_v0, first.code_v1))
    assert STACK_BOTTOM + region.find(words) == slot


def test_module_profiles_say_what_the_screen_says(kernel: Machine, stock: Path) -> None:
    memory = kernel.memory()
    _, manager = local(memory, stock / "stock_twin.elf", "manager")
    screen = lines(kernel)
    for profile in manager.modules[: manager.num_modules]:
        assert (
            f"{text(profile.name)}: address 0x{profile.code_ptr:08x}, size {profile.code_size}, "
            f"calls {profile.call_count}" in screen
        )
        header = layouts.unpack("module_header_t", memory.read(profile.code_ptr - 48, 48, "module header"))
        assert (header.magic, header.name) == (layouts.const("MODULE_MAGIC"), profile.name)
        assert (header.entry_point, header.code_size) == (profile.code_ptr, profile.code_size)
        assert profile.loaded == 1
        assert profile.sum_of_squares >= profile.max_cycles**2
    fibonacci = manager.modules[1]
    assert fibonacci.sum_of_squares == fibonacci.total_cycles**2
    assert manager.total_calls == sum(profile.call_count for profile in manager.modules)


def test_the_file_systems_record_is_that_of_the_disk(kernel: Machine, stock: Path) -> None:
    memory = kernel.memory()
    _, fs = local(memory, stock / "stock_twin.elf", "fs")
    disk = (stock / "stock_disk.img").read_bytes()
    assert fs.boot_sector == layouts.unpack("fat16_boot_sector_t", disk)
    assert (fs.drive, fs.fat_cached, fs.total) == (1, 1, len(disk) // 512)
    fat = disk[fs.fat_start * 512 : (fs.fat_start + fs.boot_sector.sectors_per_fat) * 512]
    assert memory.read(fs.fat_cache, len(fat), "FAT") == fat


def test_the_pools_are_inside_the_heap_and_their_books_balance(kernel: Machine, stock: Path) -> None:
    memory = kernel.memory()
    found = symbols(stock / "stock.elf")
    pools = layouts.unpack_array("memory_pool_t", memory.read(found["g_pools"], 132, "pools"), 3)
    at = found["heap"]
    for pool, size, used_blocks in zip(pools, (0x8000, 0x8000, 0x4000), (3, 2, 6), strict=True):
        assert (pool.base, pool.total_size, pool.initialized) == (at, size, 1)
        assert pool.stats.used + pool.stats.free == pool.stats.total == size
        used = free = 0
        header_at = pool.base
        while header_at < pool.base + size:
            header = layouts.unpack("block_header_t", memory.read(header_at, 16, "block header"))
            assert header.magic == layouts.const("BLOCK_MAGIC")
            used, free = used + (not header.is_free), free + bool(header.is_free) * (header.size + 16)
            header_at += 16 + header.size
        assert header_at == pool.base + size
        assert (used, free) == (used_blocks, pool.stats.free)
        assert pool.stats.num_allocations - pool.stats.num_deallocations == used
        at += size


def test_it_has_no_debug_interface_in_memory_either(kernel: Machine) -> None:
    memory = kernel.memory()
    with pytest.raises(BadData):
        find_root(memory)
    record = layouts.const("BF_BOOT_RECORD_ADDRESS")
    assert memory.read(record, 4, "boot record") != layouts.const("BF_BOOT_MAGIC").to_bytes(4, "little")
    for magic in ("BF_RING_MAGIC", "BF_MAILBOX_MAGIC", "BF_LOG_MAGIC", "BF_EXCEPTION_MAGIC", "BF_BOOT_MAGIC"):
        word = layouts.const(magic).to_bytes(4, "little")
        image = memory.read(0x10000, 0x70000, "the kernel")
        assert word not in [image[at : at + 4] for at in range(0, len(image), 4)], magic


@pytest.mark.parametrize("name", ["kernel", "unikernel"])
def test_the_cpu_ends_halted_without_paging_on_the_gdt_of_stage_2(name: str, request: pytest.FixtureRequest) -> None:
    machine: Machine = request.getfixturevalue(name)
    wait(machine, lambda: registers(machine)["HLT"] == 1, BOOT_SECONDS, "the last halt")
    found = registers(machine)
    assert found["CR0"] == 0x11
    assert found["GDT"] in LOADER_STAGE2
    caller = int.from_bytes(machine.memory().read(found["EBP"], 4, "saved EBP"), "little")
    assert caller == MAIN_FRAME


@pytest.mark.parametrize(("bytes_each", "loaded_at"), [(76, 72), (72, None)])
def test_older_generations_keep_the_same_modules_in_shorter_records(
    stock: Path, launched: Boot, bytes_each: int, loaded_at: int | None
) -> None:
    machine = launched(stock / f"stock{bytes_each}.img")
    assert wait_for_serial(machine, END_OF_RUN, BOOT_SECONDS).startswith(FIRST_150_CALLS)
    region = machine.memory().read(STACK_BOTTOM, STACK_TOP - STACK_BOTTOM, "stack region")
    start = region.find(b"sum".ljust(32, b"\0"))
    for index, (name, calls) in enumerate([("sum", 1), ("fibonacci", 1), ("compute", 10), ("primes", 1)]):
        record = region[start + index * bytes_each :][:bytes_each]
        assert text(record[:32]) == name
        assert int.from_bytes(record[36:44], "little") == calls
        size = (stock / "modules" / f"{name}.O0.mod").stat().st_size - 48
        assert int.from_bytes(record[68:72], "little") == size
        if loaded_at is not None:
            assert int.from_bytes(record[loaded_at:], "little") == 1
    count = start + 16 * bytes_each
    assert int.from_bytes(region[count : count + 4], "little") == 4


def test_a_kernel_without_a_cache_says_so(stock: Path, launched: Boot) -> None:
    machine = launched(stock / "stock72.img", paused=True)
    screen = machine.directory / "screen"
    there = symbols(stock / "stock72.elf")["load_disk"]
    gdb(machine, f"hbreak *{there}", "continue", f"dump binary memory {screen} 0xb8000 0xb8fa0")
    assert "[CACHE] No optimized modules detected" in screen.read_bytes()[::2].decode("latin-1")


def test_a_watchpoint_on_the_slot_sees_each_swap_though_the_swap_is_inlined(stock: Path, launched: Boot) -> None:
    machine = launched(stock / "stock.img", paused=True)
    slot = layouts.offset("adaptive_jit_t", "functions") + layouts.offset("jit_function_entry_t", "current_code")
    out = gdb(
        machine,
        f"hbreak *{symbols(stock / 'stock.elf')['adaptive_jit_execute']}",
        "continue",
        "delete",
        # cdecl: the first argument is above the return address.
        f"set $slot = (unsigned *)(*(unsigned *)($esp + 4) + {slot})",
        "watch *$slot",
        *["continue", 'printf "swapped to %#x\\n", *$slot'] * 3,
        'printf "versions %#x %#x %#x\\n", $slot[-3], $slot[-2], $slot[-1]',
    )
    swaps = re.findall(r"swapped to (0x[0-9a-f]+)", out)
    assert len(set(swaps)) == 3
    assert f"versions {' '.join(swaps)}\n" in out


def test_the_unikernel_tells_its_demo_on_com1_and_on_the_screen(unikernel: Machine) -> None:
    log = unikernel.serial()
    expected = [
        r"\[serial\] init ok",
        r"\[tinyllama\] TinyLlama Unikernel v0\.1 - Self-Profiling Demo",
        r"\[tinyllama\] fibonacci\(10\) = 55  \[OK\]",
        r"\[tinyllama\] sum_to_n\(1000\) = 500500  \[OK\]",
        r"\[tinyllama\] count_primes\(100\) = 25  \[OK\]",
        r"=== JIT Profiling Statistics ===",
        r"fibonacci: calls=10, avg=\d+, min=\d+, max=\d+",
        r"sum_to_n: calls=100, avg=\d+, min=\d+, max=\d+",
        r"count_primes: calls=5, avg=\d+, min=\d+, max=\d+",
        r"\[tinyllama\] Demo complete\. System halted\.",
    ]
    for line, pattern in zip(log.splitlines(), expected, strict=True):
        assert re.fullmatch(pattern, line)
    screen = wait_for_screen(unikernel, "System halted.")
    assert screen[0] == "TinyLlama Unikernel v0.1"
    light_green, yellow = 0x0A, 0x0E
    cells = unikernel.read_screen()
    assert cells[1] == light_green
    assert cells[screen.index("=== JIT Profiling Statistics ===") * 160 + 1] == yellow


def test_the_unikernels_profile_on_the_stack_is_what_com1_said(unikernel: Machine, stock: Path) -> None:
    _, profile = local(unikernel.memory(), stock / "stock_unikernel_twin.elf", "profile")
    told = [
        f"{text(entry.name)}: calls={entry.call_count}, avg={entry.total_cycles // entry.call_count}, "
        f"min={entry.min_cycles}, max={entry.max_cycles}"
        for entry in profile.entries[: profile.num_functions]
    ]
    assert len(told) == 3
    assert "\n".join(told) in unikernel.serial()
    assert all(entry.active == 0 for entry in profile.entries)
