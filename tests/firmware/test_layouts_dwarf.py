"""The layouts that the suite reads from the headers are those of the kernel as it was compiled: its DWARF."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bareflow_gdb.abi import layouts

Members = dict[str, int]


@pytest.fixture(scope="module")
def compiled(firmware: Path) -> dict[str, tuple[int, Members]]:
    """Each struct of the kernel's DWARF by name: its size and its members' offsets."""
    found: dict[str, tuple[int, Members]] = {}
    with (firmware / "kernel.elf").open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                named = "DW_AT_name" in entry.attributes and "DW_AT_byte_size" in entry.attributes
                if entry.tag != "DW_TAG_structure_type" or not named:
                    continue
                members = {
                    child.attributes["DW_AT_name"].value.decode(): child.attributes["DW_AT_data_member_location"].value
                    for child in entry.iter_children()
                    if child.tag == "DW_TAG_member"
                }
                name = entry.attributes["DW_AT_name"].value.decode()
                described = (entry.attributes["DW_AT_byte_size"].value, members)
                assert found.setdefault(name, described) == described, f"the kernel has two kinds of struct {name}"
    return found


def test_the_kernel_uses_the_structs_of_the_contract(compiled: dict[str, tuple[int, Members]]) -> None:
    needed = {
        "bf_root",
        "bf_boot_record",
        "bf_function",
        "bf_version",
        "bf_block_table",
        "bf_ring_header",
        "bf_event",
        "bf_mail_slot",
        "bf_exception",
        "bf_status",
        "module_manager",
        "adaptive_jit",
        "memory_pool",
    }
    assert needed <= compiled.keys()


def test_every_size_and_offset_equals_the_kernels(compiled: dict[str, tuple[int, Members]]) -> None:
    compared = 0
    for name in layouts.structs():
        if name not in compiled:
            continue
        size, members = compiled[name]
        assert layouts.size(name) == size, name
        ours = {member: layouts.offset(name, member) for member in layouts.field_names(name)}
        assert ours == members, name
        compared += 1
    assert compared >= 20
