"""From which line of its source does each instruction of a recompiled version come? By the DWARF of its symbol file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from bareflow_gdb.errors import BadData
from bareflow_gdb.foreign import printable
from bareflow_gdb.memory.elf_damage import elf_damage
from bareflow_gdb.small_files import read_start

Place = tuple[str, int]
"""A file, without folders, and a line."""
_MOST_BYTES = 8 << 20
_MOST_ROWS = 1 << 16


def read_places(path: Path) -> dict[int, Place]:
    """Where the line changes, by the offset into the version's code. Raises BadData."""
    try:
        elf = ELFFile(io.BytesIO(read_start(path, _MOST_BYTES)))
        if not elf.has_dwarf_info():
            return {}
        found: dict[int, Place] = {}
        dwarf = elf.get_dwarf_info(relocate_dwarf_sections=True)
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            for row in program.get_entries() if program is not None else ():
                state = row.state
                if state is None or state.end_sequence or not state.line:
                    continue
                if len(found) == _MOST_ROWS:
                    return found
                found[state.address] = (_file(program, state.file), state.line)
    except OSError as error:
        raise BadData(f"{path} cannot be read ({error.strerror}); recompile the function") from error
    except elf_damage() as error:
        raise BadData(f"the line table of {path} is damaged ({error}); recompile the function") from error
    return found


def _file(program: Any, number: int) -> str:
    """DWARF 5 counts files from 0, what was before it from 1."""
    files = program.header.file_entry
    index = number if program.header.version >= 5 else number - 1
    if not 0 <= index < len(files):
        return ""
    return printable(files[index].name.decode("utf-8", "replace").rpartition("/")[2])
