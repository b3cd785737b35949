"""Where are the symbols of the versions that the host compiled?

A machine's `jit/index.json` lists the objects beside it, each with the addresses of its sections in the guest. The
recompiler writes it, gdb and others read it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BadData
from bareflow_gdb.foreign import printable
from bareflow_gdb.small_files import read_json

FOLDER = "jit"
INDEX = "index.json"
_MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class SymbolFile:
    """One version's relocatable object, with symbols and DWARF."""

    function: str
    version: int
    level: int
    text: int
    text_size: int
    rodata: int
    rodata_size: int
    entry: int
    sections: dict[str, int]
    """Name and address, as `add-symbol-file FILE -s .text ADDRESS` takes them."""
    path: Path
    """By its version's number."""


def file_name(version: int) -> str:
    """What a version's object is called in the folder."""
    return f"v{version}.elf"


def encode_index(files: Sequence[SymbolFile]) -> bytes:
    """The index of these files."""
    entries = [dataclasses.asdict(file) | {"path": file.path.name} for file in files]
    return json.dumps(entries, indent=1).encode() + b"\n"


def read_index(machine_directory: Path) -> list[SymbolFile]:
    """The symbol files of a machine, oldest first, none when nothing was recompiled; raises BadData."""
    folder = machine_directory / FOLDER
    try:
        return [_entry(folder, entry) for entry in read_json(folder / INDEX, _MOST_BYTES)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise BadData(
            f"{folder / INDEX} is damaged ({error!r}); remove it, the versions stay without symbols"
        ) from error


def _entry(folder: Path, entry: dict[str, Any]) -> SymbolFile:
    numbers = {
        name: int(entry[name]) for name in ("version", "level", "text", "text_size", "rodata", "rodata_size", "entry")
    }
    return SymbolFile(
        function=printable(str(entry["function"])),
        **numbers,
        sections={str(name): int(address) for name, address in entry["sections"].items()},
        path=folder / file_name(numbers["version"]),
    )
