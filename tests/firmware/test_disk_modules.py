"""Are modules loaded from the disk, checked, and placed like embedded ones, and do the embedded ones stay otherwise?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_maker import Disk, version_1, with_code
from guest_code import bitcode, tier
from kernel_view import Kernel, text

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.module import link_module, read_module
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch

HELD = RootSettings(hold=1)  # it waits before its run, and costs the host nothing

DOUBLER = "int {0}_main(int a, int b) {{ return 2 * a + b; }}"
TABLE = """
int table_calls;
static const int squares[5] = {0, 1, 4, 9, 16};
int with_table_of_squares_main(int a, int b) { table_calls++; return squares[a % 5] + b; }
"""


def module(folder: Path, name: str, source: str) -> bytes:
    return link_module(tier(folder, bitcode(folder, source), 2), name, f"{name}_main")


def flipped(image: bytes, at: int) -> bytes:
    return image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :]


@pytest.fixture(scope="module")
def files(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("modules")
    built = firmware / "modules"
    fibonacci = (built / "fibonacci.O0.mod").read_bytes()
    return {
        "SUM.MOD": (built / "sum.O0.mod").read_bytes(),
        "FIBONACC.MOD": flipped(fibonacci, 70),
        "PRIMES.MOD": b"no header at all, but as long as one would be, and then some more",
        "COMPUTE.MOD": (built / "compute.O0.mod").read_bytes()[:-1],
        # An instruction of SSE, one of SSE3, one of MMX.
        "PHYSICS_.MOD": with_code((built / "physics_step.O0.mod").read_bytes(), 3, b"\x0f\x57\xc0\xc3"),
        "GEMM_TIL.MOD": with_code((built / "gemm_tile.O0.mod").read_bytes(), 3, b"\xdb\x08\xc9\xc3"),
        "STROPS.MOD": version_1("strops", b"\x55\x89\xe5\x0f\xfe\xc1\xc3"),
        "WITH_TAB.MOD": module(folder, "with_table_of_squares", TABLE),
        "STOCK.MOD": version_1("stock", b"\xb8\x07\x00\x00\x00\xc3"),
        "EMPTY.MOD": b"",
        # An image that does not say its tier, as older tools make them.
        "AGAIN.MOD": link_module(tier(folder, (built / "sum.bc").read_bytes(), 2), "sum", "sum_main"),
        "DOUBLER.MOD": module(folder, "doubler", DOUBLER.format("doubler")),
        "DOUBLER.O1": module(folder, "doubler", DOUBLER.format("doubler")),
        "FOURTH.MOD": module(folder, "fourth", DOUBLER.format("fourth")),
        "FIFTH.MOD": module(folder, "fifth", DOUBLER.format("fifth")),
        "TEST.TXT": b"not a module\n",
    }


@pytest.fixture(scope="module")
def kernel(image: Path, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    disk = Disk.of(files).save(tmp_path_factory.mktemp("disk") / "disk.img")
    machine = launch(image, disk=disk, settings=HELD)
    wait_for_stage(machine, "registered")
    yield Kernel(machine)
    machine.stop()


def names(kernel: Kernel) -> list[str]:
    manager = kernel.record("module_manager_t", kernel.root.module_manager)
    return [text(record.name) for record in manager.modules[: manager.num_modules]]


def image_of(kernel: Kernel, name: str) -> Any:
    size = layouts.size("bf_module_image")
    return kernel.record("bf_module_image", kernel.root.module_images + names(kernel).index(name) * size)


def file_blocks(kernel: Kernel) -> dict[int, Any]:
    """The blocks that hold files, by payload address."""
    table = kernel.record("bf_block_table", kernel.root.block_table)
    found = kernel.records("bf_block", table.blocks, table.count)
    kinds = (layouts.const("BF_OWNER_FILE"), layouts.const("BF_BLOCK_USED"))
    return {block.address + 16: block for block in found if (block.owner_kind, block.state) == kinds}


def test_a_module_on_disk_replaces_the_code_of_the_embedded_one(kernel: Kernel, files: dict[str, bytes]) -> None:
    assert "[DISK] Module 'sum' has its code from disk (entry: 0x" in kernel.log
    image = image_of(kernel, "sum")
    assert image.source == layouts.const("BF_REASON_DISK")
    assert kernel.read(image.image, image.image_size) == files["AGAIN.MOD"], "the last one in the directory"
    assert image.code_size == len(read_module(files["AGAIN.MOD"]).code)
    wait_for_serial(kernel.machine, "[TEST 2]")
    assert "[TEST 1] Simple Sum Module\n  Result: 5050 (expected: 5050)\n  [OK] Test passed!\n" in kernel.log


def test_a_module_that_only_the_disk_has_is_added_under_the_name_in_its_header(
    kernel: Kernel, files: dict[str, bytes]
) -> None:
    assert "[OK] Module loaded: with_table_of_squares (entry: 0x" in kernel.log
    image = image_of(kernel, "with_table_of_squares")
    assert image.source == layouts.const("BF_REASON_DISK")
    assert image.data_size == 4 and image.rodata_size == 20
    assert kernel.read(image.rodata, 20) == read_module(files["WITH_TAB.MOD"]).rodata


def test_its_code_is_relocated_to_where_it_is(kernel: Kernel, files: dict[str, bytes]) -> None:
    image, linked = image_of(kernel, "with_table_of_squares"), read_module(files["WITH_TAB.MOD"])
    assert image.entry == image.code + linked.entry
    code = kernel.read(image.code, image.code_size)
    assert image.data.to_bytes(4, "little") in code
    assert image.rodata.to_bytes(4, "little") in code


def test_a_stock_module_without_signature_is_taken_with_a_warning(kernel: Kernel) -> None:
    image = image_of(kernel, "stock")
    assert f"[OK] Module loaded: stock (entry: 0x{image.entry:08x})\n" in kernel.log
    assert image.entry == image.code, "not the file's 0x30"
    assert "[WARN] Module stock has header version 1" in kernel.log


@pytest.mark.parametrize(
    ("file", "name", "why"),
    [
        ("FIBONACC.MOD", "fibonacci", "the SHA-256 does not match"),
        ("PRIMES.MOD", "primes", "Invalid module magic"),
        ("COMPUTE.MOD", "compute", "the relocation count does not agree with the size"),
        ("PHYSICS_.MOD", "physics_step", "not for this CPU: code+0x3 has 0f 57 c0 c3"),
        ("GEMM_TIL.MOD", "gemm_tile", "not for this CPU: code+0x3 has db 08 c9 c3"),
        ("STROPS.MOD", "strops", "not for this CPU: code+0x3 has 0f fe c1 c3"),
    ],
)
def test_a_damaged_file_is_refused_and_the_embedded_module_stays(
    kernel: Kernel, file: str, name: str, why: str
) -> None:
    assert f"[ERROR] Module image: {why}\n[DISK] {file} was not loaded\n" in kernel.log
    assert image_of(kernel, name).source == layouts.const("BF_REASON_EMBEDDED")


def test_more_modules_than_the_table_holds_are_refused(kernel: Kernel) -> None:
    assert "[ERROR] Module fifth: no room in the module table\n[DISK] FIFTH.MOD was not loaded\n" in kernel.log
    assert len(names(kernel)) == layouts.const("BF_MAX_MODULES")


def test_it_is_told_how_many_were_loaded(kernel: Kernel) -> None:
    assert "[DISK] Attempting to load modules from FAT16...\n" in kernel.log
    assert "[DISK] Loaded 6 modules\n" in kernel.log
    assert "EMPTY.MOD was" not in kernel.log, "there is nothing in it to load"


def test_the_images_in_use_keep_their_blocks_and_no_others_do(kernel: Kernel) -> None:
    blocks = file_blocks(kernel)
    images = {name: image_of(kernel, name).image for name in names(kernel)}
    from_disk = {name: address for name, address in images.items() if address >= layouts.const("BF_POOL_DATA_BASE")}
    assert set(from_disk) == {"sum", "with_table_of_squares", "stock", "doubler", "fourth"}
    assert set(blocks) == set(from_disk.values())
    for name, address in from_disk.items():
        assert blocks[address].owner == names(kernel).index(name)


def test_loading_from_disk_is_an_event_with_its_reason(kernel: Kernel) -> None:
    disk = layouts.const("BF_REASON_DISK")
    loaded = {event.id for event in kernel.events_of("MODULE_LOAD") if event.arg[2] == disk}
    replaced = [event.id for event in kernel.events_of("MODULE_OVERRIDE") if event.arg[2] == disk]
    found = names(kernel)
    assert {found[index] for index in loaded} == {"with_table_of_squares", "stock", "doubler", "fourth"}
    assert [found[index] for index in replaced] == ["sum", "sum"]


def test_the_image_that_the_build_makes_loads_every_module(image: Path, firmware: Path) -> None:
    machine = launch(image, disk=firmware / "fat16.img")
    try:
        wait_for_stage(machine, "modules")
        kernel = Kernel(machine)
        assert "[DISK] Loaded 12 modules\n" in kernel.log
        assert all(image_of(kernel, name).source == layouts.const("BF_REASON_DISK") for name in names(kernel))
        wait_for_serial(machine, "MODULE SYSTEM STATISTICS")
        assert kernel.log.count("  [OK] Test passed!\n") == 12
        assert "[FAIL]" not in kernel.log
    finally:
        machine.stop()
