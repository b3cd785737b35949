"""Was this bitcode compiled in this way before? Objects by what they were made of, in the user's cache directory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.files import write_atomically
from bareflow_gdb.qemu.directory import private
from bareflow_gdb.recompile.compiler import Compilation, pass_times
from bareflow_gdb.recompile.pipe import BODY_BYTES, HEAD_BYTES, BadFrame, encode, take_frame
from bareflow_gdb.recompile.recipe import Recipe
from bareflow_gdb.small_files import read_start

MOST_FILES = 512
MOST_BYTES = 64 << 20
_RULES = ("contract.py", "assembly.py", "runtimes.py", "ir.py", "pipeline.py", "worker.py", "pass_times.py")
"""What decides which object is made of a bitcode: another text of them, another key."""
_DIGEST_BYTES = hashlib.sha256().digest_size
_MOST_ENTRY = _DIGEST_BYTES + 8 + HEAD_BYTES + BODY_BYTES


def usual_folder() -> Path | None:
    """Below $XDG_CACHE_HOME, or ~/.cache; None when the user has no home."""
    given = Path(os.environ.get("XDG_CACHE_HOME") or ".")
    try:
        return (given if given.is_absolute() else Path.home() / ".cache") / "bareflow" / "objects"
    except RuntimeError:
        return None


class ObjectCache:
    """Objects in a folder that is private to the user. Nothing here fails: what cannot be kept is made again."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def get(self, key: str) -> Compilation | None:
        """What was kept under this key; None also when the entry is damaged."""
        if self._folder is None:
            return None
        path = self._folder / key
        try:
            data = read_start(path, _MOST_ENTRY + 1)
            made = _decode(data)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None
        with suppress(OSError):
            os.utime(path)  # the least recently used ones go first
        return made

    def put(self, key: str, made: Compilation) -> None:
        """Keeps it, in place of a damaged one; the oldest go when there are too many."""
        if self._folder is None:
            return
        with suppress(OSError, BareflowError):
            write_atomically(private(self._folder) / key, _encode(made))
            self._trim(self._folder)

    def _trim(self, folder: Path) -> None:
        found = sorted(((item.stat(), item.path) for item in os.scandir(folder)), key=lambda pair: -pair[0].st_mtime)
        room = MOST_BYTES
        for number, (status, path) in enumerate(found):
            room -= status.st_size
            if number >= MOST_FILES or room < 0:
                Path(path).unlink(missing_ok=True)


def key_of(payload: bytes, entry: str, level: int, recipe: Recipe) -> str:
    """Of everything that the object follows from."""
    words = [hashlib.sha256(payload).hexdigest(), entry, level, recipe.cpu, recipe.passes, *_makers()]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


@cache
def _makers() -> tuple[str, str]:
    """Which LLVM, by the library that has it inside, and which rules of ours."""
    rules = hashlib.sha256()
    for name in _RULES:
        rules.update(Path(__file__).with_name(name).read_bytes())
    return importlib.metadata.version("llvmlite"), rules.hexdigest()


def _encode(made: Compilation) -> bytes:
    told = {"remarks": made.remarks, "notes": made.notes, "passes": made.passes, "milliseconds": made.milliseconds}
    frame = encode({"level": made.level, **told}, made.data)
    return hashlib.sha256(frame).digest() + frame


def _decode(data: bytes) -> Compilation:
    digest, frame = data[:_DIGEST_BYTES], bytearray(data[_DIGEST_BYTES:])
    if hashlib.sha256(frame).digest() != digest:
        raise BadFrame("an entry that was changed")
    found = take_frame(frame)
    if found is None or frame:
        raise BadFrame("an entry that is not whole")
    head, body = found
    made = Compilation(body, int(head["level"]), (), (), dict(head["milliseconds"]), cached=True)
    passes = pass_times(head["passes"])
    return replace(made, remarks=tuple(map(str, head["remarks"])), notes=tuple(map(str, head["notes"])), passes=passes)
