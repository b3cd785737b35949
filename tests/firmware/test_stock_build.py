"""The stock kernels as files: no debug interface, no types, and layouts that the twins' DWARF proves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from stock_twin import inlined, locals_of, section, section_names, structs, symbols

from bareflow_gdb.abi import layouts

ROOT = Path(__file__).parents[2]
KERNELS = ("stock", "stock_unikernel")
LOADER_BYTES = layouts.const("BF_IMAGE_LBA") * 512

# Sizes in bytes as measured on kernels in the field.
KERNEL_SIZES = {
    "module_header": 48,
    "module_profile": 84,
    "module_manager": 1356,
    "function_profile": 52,
    "function_profiler": 6672,
    "jit_context": 16,
    "jit_function_entry": 48,
    "adaptive_jit": 8216,
    "block_header": 16,
    "pool_stats": 28,
    "memory_pool": 44,
    "fat16_boot_sector": 62,
    "fat16_dir_entry": 32,
    "fat16_fs": 604,
}
UNIKERNEL_SIZES = {"jit_profile_entry": 76, "jit_profile": 2436, "memory_pool": 44, "block_header": 16}


@pytest.fixture(scope="module")
def stock(firmware: Path) -> Path:
    return firmware / "stock"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("part", [".text", ".rodata", ".data"])
def test_a_twin_is_the_same_kernel_byte_for_byte(stock: Path, kernel: str, part: str) -> None:
    assert section(stock / f"{kernel}.elf", part) == section(stock / f"{kernel}_twin.elf", part)
    assert symbols(stock / f"{kernel}.elf") == symbols(stock / f"{kernel}_twin.elf")


@pytest.mark.parametrize(("twin", "sizes"), [("stock_twin", KERNEL_SIZES), ("stock_unikernel_twin", UNIKERNEL_SIZES)])
def test_every_size_and_offset_of_a_twins_records_is_that_of_the_headers(
    stock: Path, twin: str, sizes: dict[str, int]
) -> None:
    compiled = structs(stock / f"{twin}.elf")
    for name, size in sizes.items():
        assert compiled[name].size == size == layouts.size(name), name
        members = {member: place.offset for member, place in compiled[name].members.items()}
        ours = {
            member: layouts.offset(name, member)
            for member in layouts.field_names(name)
            if not member.startswith("padding")
        }
        assert members == ours, name
        for member, place in compiled[name].members.items():
            assert place.size == layouts.field_size(name, member), f"{name}.{member}"


def test_the_bitcode_header_of_a_stock_kernel_has_two_reserved_words(stock: Path) -> None:
    compiled = structs(stock / "stock_twin.elf")["bitcode_header"]
    assert compiled.size == 120
    assert compiled.members["reserved"].size == 8
    for member in ("magic", "module_name", "entry_name", "bitcode_size", "version", "opt_level", "reserved"):
        assert compiled.members[member].offset == layouts.offset("bitcode_header", member)


@pytest.mark.parametrize(("kernel", "size"), [("stock", 120), ("stock76", 124), ("stock72", 128)])
def test_bitcode_follows_a_header_of_its_generations_size(stock: Path, kernel: str, size: int) -> None:
    bitcode = section(stock / f"{kernel}.elf", ".bitcode")
    assert bitcode[:4] == layouts.const("BITCODE_MAGIC").to_bytes(4, "little")
    assert bitcode[size : size + 4] == b"BC\xc0\xde"


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_stock_kernel_has_symbols_but_no_types_and_no_debug_interface(stock: Path, kernel: str) -> None:
    elf = stock / f"{kernel}.elf"
    assert [name for name in section_names(elf) if name.startswith(".debug")] == []
    found = symbols(elf)
    assert {"g_pools", "heap", "heap_offset", "idt", "kernel_main"} <= found.keys()
    # Statics are in the table too.
    assert {"allocate", "release"} <= found.keys()
    interface = [
        name
        for name in found
        if "bareflow" in name or name.startswith(("event", "ring", "mailbox", "version_", "boot_record"))
    ]
    assert interface == []


def test_the_functions_whose_first_argument_leads_to_the_records_are_not_inlined(stock: Path) -> None:
    kernel, unikernel = symbols(stock / "stock.elf"), symbols(stock / "stock_unikernel.elf")
    assert {"adaptive_jit_register_function", "module_load", "fat16_init"} <= kernel.keys()
    assert "jit_profile_begin" in unikernel


def test_the_swap_is_inlined_and_has_no_copy_of_its_own(stock: Path) -> None:
    assert inlined(stock / "stock_twin.elf", "adaptive_jit_swap_code") == (1, 0)
    for elf in ("stock.elf", "stock_interactive.elf", "stock76.elf", "stock72.elf"):
        assert "adaptive_jit_swap_code" not in symbols(stock / elf)


def test_the_big_records_are_locals_of_the_main_function(stock: Path) -> None:
    kernel = {kind for kind, _ in locals_of(stock / "stock_twin.elf", "kernel_main").values()}
    assert {"adaptive_jit_t", "module_manager_t", "fat16_fs_t"} <= kernel
    unikernel = {kind for kind, _ in locals_of(stock / "stock_unikernel_twin.elf", "kernel_main").values()}
    assert "jit_profile_t" in unikernel


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_stripped_kernel_is_the_kernel_without_its_symbols(stock: Path, kernel: str) -> None:
    stripped = stock / f"{kernel}_stripped.elf"
    assert symbols(stripped) == {}
    assert section(stripped, ".text") == section(stock / f"{kernel}.elf", ".text")


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_signature_is_at_offset_0_and_code_follows_it_at_once(stock: Path, kernel: str) -> None:
    image = (stock / f"{kernel}.img").read_bytes()[LOADER_BYTES:]
    assert image[:4] == b"DULF"
    assert symbols(stock / f"{kernel}.elf")["_start"] == layouts.const("BF_IMAGE_BASE") + 4
    cli = 0xFA
    assert image[4] == cli


def test_no_two_levels_of_a_function_are_the_same_code(stock: Path) -> None:
    for name in ("fibonacci", "sum", "compute"):
        codes = {(stock / "modules" / f"{name}.O{level}.mod").read_bytes() for level in range(4)}
        assert len(codes) == 4, name


def test_module_files_have_the_stock_header(stock: Path) -> None:
    for file in (stock / "modules").glob("*.mod"):
        header = layouts.unpack("module_header_t", file.read_bytes())
        assert header.magic == layouts.const("MODULE_MAGIC")
        assert header.name.rstrip(b"\0").decode() == file.name.split(".")[0]
        assert (header.entry_point, header.code_size, header.version) == (0x30, 0, 1)


def test_an_image_with_more_sectors_than_its_loader_reads_fails_the_build(tmp_path: Path) -> None:
    image = tmp_path / "stock" / "stock_unikernel.img"
    command = ["make", "--no-print-directory", "-C", str(ROOT / "firmware"), f"OUT={tmp_path}", str(image)]
    command += ["STOCK_UNIKERNEL_SECTORS=8", f"PYTHON={sys.executable}"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode != 0
    assert "its loader reads 8: make the kernel smaller" in built.stdout
    assert not image.exists()
