"""What does the debug information of a stock twin say? Records with their members, and the main function's locals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.elf.elffile import ELFFile


@dataclass(frozen=True)
class Member:
    offset: int
    size: int


@dataclass(frozen=True)
class Struct:
    size: int
    members: dict[str, Member]


def structs(elf: Path) -> dict[str, Struct]:
    """Each named struct of the ELF's debug information; two of one name must be the same."""
    found: dict[str, Struct] = {}
    with elf.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                if entry.tag == "DW_TAG_structure_type" and {"DW_AT_name", "DW_AT_byte_size"} <= set(entry.attributes):
                    members = {
                        _name(child): Member(child.attributes["DW_AT_data_member_location"].value, _size(child))
                        for child in entry.iter_children()
                        if child.tag == "DW_TAG_member"
                    }
                    described = Struct(entry.attributes["DW_AT_byte_size"].value, members)
                    assert found.setdefault(_name(entry), described) == described, _name(entry)
    return found


def locals_of(elf: Path, function: str) -> dict[str, tuple[str, int]]:
    """The function's variables: type name, and offset from its frame base, which is EBP."""
    with elf.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            parser = DWARFExprParser(unit.structs)
            for entry in unit.iter_DIEs():
                if entry.tag != "DW_TAG_subprogram" or _name(entry) != function:
                    continue
                base = parser.parse_expr(entry.attributes["DW_AT_frame_base"].value)
                assert [operation.op_name for operation in base] == ["DW_OP_reg5"]
                found = {}
                for child in entry.iter_children():
                    if child.tag == "DW_TAG_variable":
                        (place,) = parser.parse_expr(child.attributes["DW_AT_location"].value)
                        assert place.op_name == "DW_OP_fbreg"
                        kind = child.get_DIE_from_attribute("DW_AT_type")
                        found[_name(child)] = (_name(kind), int(place.args[0]))
                return found
    raise AssertionError(f"{elf} has no function {function}")


def inlined(elf: Path, function: str) -> tuple[int, int]:
    """How often the function was inlined, and how many copies of its own it has."""
    places = copies = 0
    with elf.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                if entry.tag == "DW_TAG_inlined_subroutine":
                    places += _name(entry.get_DIE_from_attribute("DW_AT_abstract_origin")) == function
                elif entry.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in entry.attributes:
                    copies += _name(entry) == function
    return places, copies


def symbols(elf: Path) -> dict[str, int]:
    """The symbol table; empty when there is none."""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()} if table else {}


def section(elf: Path, name: str) -> bytes:
    """The bytes of a section; raises AssertionError when there is none."""
    with elf.open("rb") as file:
        found = ELFFile(file).get_section_by_name(name)
        assert found is not None, f"{elf} has no {name}"
        return bytes(found.data())


def section_names(elf: Path) -> list[str]:
    with elf.open("rb") as file:
        return [found.name for found in ELFFile(file).iter_sections()]


def _name(entry: Any) -> str:
    if "DW_AT_name" not in entry.attributes:
        origin = entry.attributes.get("DW_AT_abstract_origin")
        return _name(entry.get_DIE_from_attribute("DW_AT_abstract_origin")) if origin else ""
    return str(entry.attributes["DW_AT_name"].value.decode())


def _size(entry: Any) -> int:
    """Bytes of a member or of a type."""
    if "DW_AT_byte_size" in entry.attributes:
        return int(entry.attributes["DW_AT_byte_size"].value)
    if entry.tag == "DW_TAG_pointer_type":
        return 4
    size = _size(entry.get_DIE_from_attribute("DW_AT_type"))
    if entry.tag == "DW_TAG_array_type":
        for child in entry.iter_children():
            size *= child.attributes["DW_AT_count"].value
    return size
