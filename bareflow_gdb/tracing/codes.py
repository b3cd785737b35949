"""Which machine code did each version have? Kept by content, so that it outlives its place in the pool.

`code/SHA256.bin` holds the bytes, `code/index.json` one entry per version. Bytes are taken when their EMIT
event is drained, and kept only when their CRC is the one that the guest announced. A guest may announce versions
without end: the store has limits, and counts what it left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bareflow_gdb.abi.events import Fields
from bareflow_gdb.errors import BadData, BareflowError, ReadError
from bareflow_gdb.files import PRIVATE_FOLDER, write_atomically
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.small_files import read_json, read_small
from bareflow_gdb.tracing.limits import CODE_LIMITS, CodeLimits

T = TypeVar("T")

FOLDER = "code"
INDEX = "index.json"
MAX_CODE_BYTES = 1 << 20
_MAX_VERSIONS = 1 << 20
_MAX_LIST_BYTES = 64 << 20
_DAMAGED = (OSError, ValueError, KeyError, TypeError, OverflowError)


@dataclass(frozen=True)
class SavedCode:
    """One version's code; `sha256` is "" when the bytes could not be taken."""

    version: int
    function: int
    level: int | None
    address: int
    size: int
    crc: int
    entry: int
    sha256: str


class CodeStore:
    """Collects the code of versions into a trace directory."""

    def __init__(self, directory: Path, limits: CodeLimits = CODE_LIMITS) -> None:
        self._folder = directory / FOLDER
        self._folder.mkdir(PRIVATE_FOLDER)
        self._room = limits.total_bytes
        self._most_versions = min(limits.versions, _MAX_VERSIONS)
        self._left_out: set[int] = set()
        self._left_out_repeats = 0
        self._saved: dict[int, SavedCode] = {}
        self._changed = True
        # Events are drained in one thread, the tables are saved in another.
        self._lock = threading.RLock()

    def emitted(self, memory: Memory, event: Fields) -> None:
        """Takes the bytes that an EMIT event announced."""
        address = event["code"]
        place = (address, event["size"], event["crc"], address)
        with self._lock:
            self._take(memory, SavedCode(event["version"], event["function"], None, *place, ""))

    def published(self, version: int, level: int, entry: int) -> None:
        """Completes a version with what its PUBLISH event tells."""
        with self._lock:
            known = self._saved.get(version)
            if known is not None and (known.level, known.entry) != (level, entry):
                self._saved[version] = dataclasses.replace(known, level=level, entry=entry)
                self._changed = True

    def listed(self, memory: Memory, version: Version) -> None:
        """Takes the bytes of a version in the guest's table, unless they were taken before."""
        with self._lock:
            known = self._saved.get(version.number)
            if known is None or not known.sha256:
                place = (int(version.code), version.code_size, int(version.code_crc), int(version.entry))
                self._take(memory, SavedCode(version.number, version.function, version.level, *place, ""))
            self.published(version.number, version.level, version.entry)

    def _take(self, memory: Memory, code: SavedCode) -> None:
        if code.version not in self._saved and len(self._saved) >= self._most_versions:
            self._leave_out(code.version)
            return
        data = self._read(memory, code)
        if data:
            digest = hashlib.sha256(data).hexdigest()
            path = self._folder / f"{digest}.bin"
            if not path.exists():
                if len(data) > self._room:
                    digest = ""
                    self._leave_out(code.version)
                else:
                    write_atomically(path, data)
                    self._room -= len(data)
            code = dataclasses.replace(code, sha256=digest)
        self._saved[code.version] = code
        self._changed = True

    def _leave_out(self, version: int) -> None:
        """Counts a version once; when there are too many to know them all, once each time it is announced."""
        if version in self._left_out:
            return
        if len(self._left_out) < CODE_LIMITS.versions:
            self._left_out.add(version)
        else:
            self._left_out_repeats += 1
        self._changed = True

    def _read(self, memory: Memory, code: SavedCode) -> bytes:
        """The bytes, or none when the guest's words cannot be right or the code is gone already."""
        if not 0 < code.size <= MAX_CODE_BYTES:
            return b""
        try:
            data = memory.read(code.address, code.size, f"code of version {code.version}")
        except ReadError:
            return b""
        return data if zlib.crc32(data) == code.crc else b""

    def save(self) -> None:
        """Replaces the index when it has changed."""
        with self._lock:
            if not self._changed:
                return
            entries = [dataclasses.asdict(self._saved[number]) for number in sorted(self._saved)]
            record = {"versions": entries, "left_out": len(self._left_out) + self._left_out_repeats}
            self._changed = False
        write_atomically(self._folder / INDEX, json.dumps(record, indent=1) + "\n")


def load(directory: Path) -> dict[int, SavedCode]:
    """The versions of a trace by number; empty when the recorder was killed before any. Raises BadData."""
    found = read_list(directory / FOLDER / INDEX, "versions", _MAX_VERSIONS, _entry)
    return {code.version: code for code in found}


def left_out(directory: Path) -> int:
    """How many versions' code the recorder left out because of its limits. Raises BadData."""
    path = directory / FOLDER / INDEX
    try:
        return int(read_json(path, _MAX_LIST_BYTES).get("left_out", 0))
    except FileNotFoundError:
        return 0
    except (*_DAMAGED, AttributeError) as error:
        raise BadData(f"{path} is damaged ({error}); remove it to read the rest of the trace") from error


def read_list(path: Path, key: str, most: int, make: Callable[[dict[str, Any]], T]) -> list[T]:
    """The first entries of a list that the recorder saved as JSON; none when it did not. Raises BadData."""
    try:
        return [make(entry) for entry in read_json(path, _MAX_LIST_BYTES)[key][:most]]
    except FileNotFoundError:
        return []
    except _DAMAGED as error:
        raise BadData(f"{path} is damaged ({error}); remove it to read the rest of the trace") from error


def _entry(item: dict[str, Any]) -> SavedCode:
    code = SavedCode(**item)
    numbers = (code.version, code.function, code.address, code.size, code.crc, code.entry)
    if not all(isinstance(number, int) and 0 <= number < 1 << 32 for number in numbers):
        raise ValueError("a version with impossible numbers")
    if code.level is not None and not isinstance(code.level, int):
        raise ValueError("a version with an impossible level")
    if code.sha256 and (len(code.sha256) != 64 or not set(code.sha256) <= set("0123456789abcdef")):
        raise ValueError("a version with an impossible digest")
    return code


def code_bytes(directory: Path, code: SavedCode) -> bytes:
    """The saved machine code. Raises BareflowError when it was not saved, BadData when it is damaged."""
    if not code.sha256:
        raise BareflowError(f"the code of version {code.version} was not saved: it was gone before the recorder saw it")
    path = directory / FOLDER / f"{code.sha256}.bin"
    try:
        data = read_small(path, MAX_CODE_BYTES)
    except (OSError, ValueError) as error:
        raise BadData(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
    if hashlib.sha256(data).hexdigest() != code.sha256:
        raise BadData(f"{path} is damaged: its content has another digest than its name")
    return data
