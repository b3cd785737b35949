"""Where does a debugger find the symbols of a version that the host compiled?

`jit/NAME.O3.v17.elf` is the relocatable object with DWARF and symbols; `jit/index.json` lists where the
sections of each lie in the guest, as `add-symbol-file FILE -s .text ADDRESS` takes them.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BadData
from bareflow_gdb.files import write_atomically
from bareflow_gdb.qemu.directory import private
from bareflow_gdb.recompile.link import Linked
from bareflow_gdb.recompile.objects import with_absolute_symbols

FOLDER = "jit"
INDEX = "index.json"
LOCK = "host.lock"
KEPT = 128
"""Symbol files per machine; older ones go, as their code has."""


@dataclass(frozen=True)
class SymbolFile:
    """One entry of the index."""

    function: str
    version: int
    level: int
    text: int
    text_size: int
    rodata: int
    rodata_size: int
    entry: int
    sections: dict[str, int]  # name -> address
    path: str  # relative to the index


class SymbolStore:
    """The symbol files of one machine."""

    def __init__(self, machine_directory: Path) -> None:
        self.folder = private(machine_directory / FOLDER)

    def add(self, function: str, version: int, level: int, code: int, rodata: int, linked: Linked) -> Path:
        """Keep a version's object and list it; returns its path."""
        name = f"{function}.O{level}.v{version}.elf"
        entry = SymbolFile(
            function=function,
            version=version,
            level=level,
            text=code,
            text_size=len(linked.code),
            rodata=rodata,
            rodata_size=len(linked.rodata),
            entry=code + linked.entry_offset,
            sections=dict(linked.sections),
            path=name,
        )
        write_atomically(self.folder / name, with_absolute_symbols(linked.data, linked.fixed))
        entries = [old for old in read_index(self.folder.parent) if old.version != version] + [entry]
        text = json.dumps([asdict(item) for item in entries[-KEPT:]], indent=1)
        write_atomically(self.folder / INDEX, text + "\n")
        for old in entries[:-KEPT]:
            (self.folder / old.path).unlink(missing_ok=True)
        return self.folder / name

    def lock(self) -> "HostLock | None":
        """The right to serve this machine's mailbox, None when another process has it."""
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return HostLock(handle)


class HostLock:
    """Held while a process serves; the kernel releases it when the process dies."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def release(self) -> None:
        os.close(self._handle)


def read_index(machine_directory: Path) -> list[SymbolFile]:
    """The symbol files of a machine, oldest first; raises BadData when the index is damaged."""
    path = machine_directory / FOLDER / INDEX
    try:
        entries: Any = json.loads(path.read_text())
        return [SymbolFile(**entry) for entry in entries]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise BadData(f"{path} is damaged ({error}); remove it, the versions stay without symbols") from error
