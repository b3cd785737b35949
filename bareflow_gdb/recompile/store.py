"""Who keeps the symbols of the versions that the host compiles, and who may serve a machine?

`jit/v17.elf` is the relocatable object of version 17 with DWARF and symbols, `jit/v17.json` what LLVM said of it;
`jit/index.json` lists them, see guest/code/symbol_index.py. No name of the guest is part of a file name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from bareflow_gdb.files import write_atomically
from bareflow_gdb.guest.code import remarks
from bareflow_gdb.guest.code.symbol_index import FOLDER, INDEX, SymbolFile, encode_index, file_name, read_index
from bareflow_gdb.qemu.directory import private
from bareflow_gdb.recompile.compiler import Compilation
from bareflow_gdb.recompile.debug_file import for_debuggers
from bareflow_gdb.recompile.link import Linked
from bareflow_gdb.recompile.objects import with_absolute_symbols

LOCK = "host.lock"
KEPT = 128
"""Symbol files per machine; older ones go, as their code has."""


class SymbolStore:
    """The symbol files of one machine."""

    def __init__(self, machine_directory: Path) -> None:
        self.folder = private(machine_directory / FOLDER)

    def add(
        self,
        function: str,
        version: int,
        level: int,
        code: int,
        rodata: int,
        linked: Linked,
        compilation: Compilation | None = None,
    ) -> Path:
        """Keeps a version's object, and what LLVM said of it, and lists it; returns its path."""
        path = self.folder / file_name(version)
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
            path=path,
        )
        write_atomically(path, for_debuggers(with_absolute_symbols(linked.data, linked.fixed)))
        if compilation is not None:
            said = remarks.encode(compilation.remarks, compilation.passes)
            write_atomically(self.folder / remarks.file_name(version), said)
        entries = [old for old in read_index(self.folder.parent) if old.version != version] + [entry]
        write_atomically(self.folder / INDEX, encode_index(entries[-KEPT:]))
        for old in entries[:-KEPT]:
            old.path.unlink(missing_ok=True)
            (self.folder / remarks.file_name(old.version)).unlink(missing_ok=True)
        return path

    def lock(self) -> TextIO | None:
        """The right to serve this machine's mailbox, until it is closed; None when another process has it."""
        file = os.fdopen(os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600), encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file
