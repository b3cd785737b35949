"""How is guest memory read out of a saved trace? And how is it saved?

`DIRECTORY/memory/` holds `index.json` (address, size, file name, CRC-32 of each range) and a zlib stream per
range. Standard library only, so that gdb can open a trace too.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bareflow_gdb.errors import BadData, BareflowError, ReadError, Unreachable
from bareflow_gdb.files import PRIVATE_FOLDER, write_atomically
from bareflow_gdb.memory.protocol import SCREEN_BYTES, CheckedMemory, Memory, Range, merged
from bareflow_gdb.small_files import read_json, read_small

FOLDER = "memory"
_INDEX = "index.json"
_SCREEN = "screen.bin"
_REGISTERS = "registers.txt"
_MAX_RANGES = 4096
_MAX_BYTES = 256 << 20
_MAX_INDEX = 1 << 20
_MAX_REGISTERS = 64 << 10
ASKED = "info registers"
"""The one question of QEMU's monitor whose answer is saved."""


def save(memory: Memory, ranges: Iterable[Range], directory: Path) -> int:
    """Saves the ranges [start, end) of `memory` below `directory`; returns the bytes saved, uncompressed.

    A range that cannot be read is left out. The index is replaced last: a snapshot is the old or the new one.
    """
    folder = directory / FOLDER
    folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    known: set[str] = {_INDEX}
    listed = []
    total = 0
    for start, end in merged(ranges):
        try:
            data = memory.read(start, end - start, "trace snapshot")
        except ReadError:
            continue
        crc = zlib.crc32(data)
        name = f"{start:08x}-{crc:08x}.z"
        if not (folder / name).exists():
            write_atomically(folder / name, zlib.compress(data, 1))
        known.add(name)
        listed.append({"address": start, "size": len(data), "file": name, "crc": crc})
        total += len(data)
    with suppress(BareflowError):
        if screen := memory.screen():
            known.add(_SCREEN)
            write_atomically(folder / _SCREEN, screen)
    with suppress(BareflowError):
        write_atomically(folder / _REGISTERS, memory.monitor(ASKED))
        known.add(_REGISTERS)
    write_atomically(folder / _INDEX, json.dumps({"ranges": listed}, indent=1))
    for old in folder.iterdir():
        if old.name not in known:
            old.unlink()
    return total


class SnapshotMemory(CheckedMemory):
    """The saved ranges of a trace. Raises BadData when the trace has no usable snapshot."""

    name = "trace snapshot"

    def __init__(self, directory: Path) -> None:
        folder = directory / FOLDER
        try:
            listed = read_json(folder / _INDEX, _MAX_INDEX)["ranges"]
            self._parts = [_Part(folder, part) for part in listed[:_MAX_RANGES]]
        except FileNotFoundError as error:
            raise BadData(
                f"the trace {directory} has no memory snapshot: its recorder was killed before the first one;"
                " its events can still be read with `bareflow trace show`"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadData(f"the memory snapshot of the trace {directory} is damaged: {error}") from error
        if sum(part.size for part in self._parts) > _MAX_BYTES:
            raise BadData(f"the memory snapshot of the trace {directory} claims more than {_MAX_BYTES} bytes")
        super().__init__((part.start, part.start + part.size) for part in self._parts)
        self._screen_path = folder / _SCREEN
        self._registers_path = folder / _REGISTERS

    def _fetch(self, address: int, size: int) -> bytes:
        for part in self._parts:
            if part.start <= address and address + size <= part.start + part.size:
                return part.data()[address - part.start :][:size]
        raise Unreachable("that range was not saved")

    def monitor(self, command: str) -> str:
        if command != ASKED:
            return super().monitor(command)
        try:
            return read_small(self._registers_path, _MAX_REGISTERS).decode("ascii", "replace")
        except OSError:
            return super().monitor(command)
        except ValueError as error:
            raise BadData(f"the saved registers are damaged: {error}") from error

    def screen(self) -> bytes:
        try:
            data = read_small(self._screen_path, SCREEN_BYTES)
        except OSError:
            return super().screen()
        except ValueError as error:
            raise BadData(f"the saved screen is damaged: {error}") from error
        if len(data) != SCREEN_BYTES:
            raise BadData(f"the saved screen has {len(data)} bytes instead of {SCREEN_BYTES}")
        return data


class _Part:
    """One saved range, inflated at the first read."""

    def __init__(self, folder: Path, entry: dict[str, object]) -> None:
        start, size, name, crc = entry["address"], entry["size"], entry["file"], entry["crc"]
        if not (isinstance(start, int) and isinstance(size, int) and isinstance(crc, int)):
            raise ValueError("a range without numbers")
        if start < 0 or size <= 0 or start + size > 1 << 32:
            raise ValueError(f"a range of {size} bytes at {start}")
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"a file name that leaves the trace: {name!r}")
        self.start, self.size, self._crc = start, size, crc
        self._path = folder / name
        self._data: bytes | None = None

    def data(self) -> bytes:
        if self._data is None:
            try:
                inflater = zlib.decompressobj()
                data = inflater.decompress(read_small(self._path, _MAX_BYTES), self.size + 1)
            except (OSError, ValueError, zlib.error) as error:
                raise BadData(f"{self._path.name} of the memory snapshot is damaged: {error}") from error
            if len(data) != self.size or zlib.crc32(data) != self._crc:
                raise BadData(f"{self._path.name} of the memory snapshot is damaged: its CRC is wrong")
            self._data = data
        return self._data
