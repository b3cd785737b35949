"""What does gdb know of code that was made while the guest ran? Names of all of it, lines where there are any.

One file describes all published code: it is written again and replaced when something was swapped, so what
gdb has to register does not grow, and retired versions are gone. Its symbols are `primes@O2` and, for
whatever tier is published, `primes@jit`. Breakpoints by name or by line move with the file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.files import write_atomically
from bareflow_gdb.foreign import gdb_word
from bareflow_gdb.guest.base.values import Address

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui import debug_object
    from bareflow_gdb.guest.code.jit_code import JitCode
    from bareflow_gdb.guest.code.symbol_index import SymbolFile

ANY_TIER = "jit"
_FOLDER = "bareflow-gdb-"


@dataclass(frozen=True)
class Attached:
    """One version that gdb knows."""

    name: str
    """The symbol: primes@O2."""
    version: int | None
    code: Address
    size: int
    lines: str
    """The object that its source lines come from; "" = its name only."""


class JitSymbols:
    """What this connection has attached so far: at most one file."""

    def __init__(self) -> None:
        self.attached: tuple[Attached, ...] = ()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._file: Path | None = None
        self._space = gdb.current_progspace()
        self._count = 0

    def sync(self, codes: Iterable[JitCode], directories: Sequence[Path] = ()) -> tuple[Attached, ...]:
        """Makes gdb know the published ones of `codes`, and nothing of others; returns them.

        directories: the machine's own, with the recompiler's index. Raises BadData when that is damaged.
        """
        from bareflow_gdb.gdb_ui import debug_object
        from bareflow_gdb.guest.code.symbol_index import read_index

        objects = {item.version: item for directory in directories for item in read_index(directory)}
        published = [code for code in codes if code.published]
        found = {code: _object_of(code, objects) for code in published}
        wanted = tuple(_attached(code, found[code]) for code in published)
        if wanted == self.attached and self._is_there():
            return wanted
        described = [_described(code, found[code]) for code in published]
        self.detach_all()
        if described:
            self._attach(debug_object.join(described))
        self.attached = wanted
        return wanted

    def detach_all(self) -> None:
        """The connection is gone, and with it the code."""
        # The user may have removed it, or all symbol files, himself.
        if self._is_there():
            with _selected(self._space):
                gdb.execute(f"remove-symbol-file {gdb_word(str(self._file))}", to_string=True)
        self.attached = ()
        self._file = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _is_there(self) -> bool:
        if self._file is None or not self._space.is_valid():
            return False
        return any(item.filename == str(self._file) for item in self._space.objfiles())

    def _attach(self, data: bytes) -> None:
        # Removed at the end of gdb at the latest, and by the next gdb when this one is killed.
        _remove_those_of_killed_gdbs()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-", ignore_cleanup_errors=True)
        self._space = gdb.current_progspace()
        # A new name each time: gdb keeps what it read from a file by its name.
        self._count += 1
        self._file = Path(self._folder.name).resolve() / f"jit-{self._count}.elf"
        write_atomically(self._file, data)
        gdb.execute(f"add-symbol-file {gdb_word(str(self._file))}", to_string=True)


def is_ours(path: str) -> bool:
    """Is this a file that tells gdb of JIT code?"""
    return Path(path).parent.name.startswith(_FOLDER)


@contextlib.contextmanager
def _selected(space: gdb.Progspace) -> Iterator[None]:
    """With an inferior selected that has this program space: gdb removes symbol files of that only."""
    before = gdb.selected_inferior()
    there = next((item for item in gdb.inferiors() if item.progspace == space), before)
    if there.num == before.num:
        yield
        return
    gdb.execute(f"inferior {there.num:d}", to_string=True)
    try:
        yield
    finally:
        gdb.execute(f"inferior {before.num:d}", to_string=True)


def _object_of(code: JitCode, objects: Mapping[int, SymbolFile]) -> SymbolFile | None:
    found = None if code.version is None else objects.get(code.version)
    return found if found is not None and found.text == code.code and found.path.exists() else None


def _attached(code: JitCode, found: SymbolFile | None) -> Attached:
    return Attached(code.name, code.version, code.code, code.size, found.path.name if found else "")


def _described(code: JitCode, found: SymbolFile | None) -> debug_object.Described:
    from bareflow_gdb.gdb_ui import debug_object

    return debug_object.Described(
        label=f"v{code.version}" if code.version is not None else f"{code.function}.O{code.level}",
        names=(code.name, f"{code.function}@{ANY_TIER}"),
        code=code.code,
        size=code.size,
        entry=code.entry,
        object=found.path.read_bytes() if found else b"",
        sections=found.sections if found else {},
    )


def _remove_those_of_killed_gdbs() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                info = folder.lstat()
                if stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
