"""Which debug information belongs to code that was compiled while the guest ran?

The recompiler lists its objects in `jit/index.json` of the machine's directory: version, ELF object, and the
address of each section. Those of published versions are attached with `add-symbol-file`, and removed once
their version is replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import gdb

from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.functions import Version

INDEX = Path("jit") / "index.json"


@dataclass(frozen=True)
class SymbolFile:
    """One object of the index: the version it describes and where its sections lie in the guest."""

    version: int
    code: int
    path: Path
    sections: tuple[tuple[str, int], ...]


class JitSymbols:
    """What this connection has attached so far."""

    def __init__(self) -> None:
        self._attached: dict[int, SymbolFile] = {}

    def sync(self, directory: Path, versions: Iterable[Version]) -> tuple[int, ...]:
        """Attaches the objects of published versions and removes those of replaced ones.

        Returns the numbers of the versions that have debug information now. Raises BadData when the index is
        damaged.
        """
        published = {v.number: v for v in versions if v.state == "published"}
        wanted = {
            item.version: item
            for item in read_index(directory)
            if item.version in published and item.code == published[item.version].code
        }
        for number in [number for number in self._attached if self._attached[number] != wanted.get(number)]:
            self._detach(number)
        for number, item in wanted.items():
            if number not in self._attached:
                _add(item)
                self._attached[number] = item
        return tuple(sorted(self._attached))

    def detach_all(self) -> None:
        """The connection is gone, and with it the code."""
        for number in list(self._attached):
            self._detach(number)

    def _detach(self, number: int) -> None:
        path = str(self._attached.pop(number).path)
        # The user may have removed it, or all symbol files, himself.
        if any(objfile.filename == path for objfile in gdb.objfiles()):
            gdb.execute(f'remove-symbol-file "{path}"', to_string=True)


def _add(item: SymbolFile) -> None:
    sections = " ".join(f"-s {name} 0x{address:x}" for name, address in item.sections)
    gdb.execute(f'add-symbol-file "{item.path}" {sections}', to_string=True)


def read_index(directory: Path) -> list[SymbolFile]:
    """The objects listed for a machine, none when nothing was recompiled; raises BadData."""
    path = directory / INDEX
    try:
        entries = json.loads(path.read_text())
        return [
            SymbolFile(
                version=int(entry["version"]),
                code=int(entry["text"]),
                path=(path.parent / entry["path"]).resolve(),
                sections=tuple((str(name), int(address)) for name, address in entry["sections"].items()),
            )
            for entry in entries
        ]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadData(
            f"{path} is damaged ({error!r}); remove it, the versions stay without symbols"
        ) from error
