"""Where does a running machine keep its files? One private directory per machine, found again by its name."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.files import write_atomically
from bareflow_gdb.small_files import read_end, read_json

RECORD = "machine.json"
LOG = "qemu.log"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
SOCKET_PATH_BYTES = 107
SHARED_MEMORY = Path("/dev/shm")
ROOM_TO_SPARE = 16 << 20
ABANDONED_SECONDS = 120.0
MESSAGE_CHARACTERS = 500
MESSAGE_BYTES = 1 << 14
"""Of the end of QEMU's log: it says much when a guest makes it."""
MOST_RECORD_BYTES = 64 << 10


def root() -> Path:
    """The directory of all machines of this user, made private when it is not there yet.

    In $XDG_RUNTIME_DIR, or in the temporary folder when that cannot be used.
    """
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or ".")
    # A relative one would be another directory in another place; the XDG specification has it ignored.
    if runtime.is_absolute() and os.access(runtime, os.W_OK | os.X_OK):
        with suppress(OSError):
            folder = private(runtime / "bareflow")
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    try:
        return private(Path(tempfile.gettempdir()) / f"bareflow-{os.getuid()}")
    except OSError as error:
        raise BareflowError(
            f"there is no place for machines ({error}); set XDG_RUNTIME_DIR to a directory that you can write to"
        ) from error


def private(folder: Path) -> Path:
    """Makes `folder` (mode 0700); refuses one that is not this user's own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise BareflowError(f"{folder} is not a directory of yours; remove it or set XDG_RUNTIME_DIR")
    if stat.S_IMODE(info.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def check_name(name: str) -> str:
    """`name`, when it can be a machine's name; raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a machine; use up to 40 letters, digits, dots, dashes")
    return name


def claim(name: str | None) -> Path:
    """A new directory for a machine; without a name the first free one of vm1, vm2, …"""
    base = root()
    names = [check_name(name)] if name else [f"vm{number}" for number in range(1, 1000)]
    for candidate in names:
        _remove_abandoned(base / candidate)
        try:
            (base / candidate).mkdir(mode=0o700)
        except FileExistsError:
            continue
        return base / candidate
    raise UsageError(f"there is a machine named {names[0]} already; `bareflow stop {names[0]}` ends it")


def _remove_abandoned(folder: Path) -> None:
    """Removes what a launcher left that was killed before it wrote machine.json."""
    with suppress(FileNotFoundError):
        if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS and not (folder / RECORD).exists():
            remove(folder)


def socket_directory(folder: Path) -> Path:
    """`folder`, or a short private one when the path of a socket in it would be too long for the kernel."""
    if len(os.fsencode(folder / "gdb.sock")) <= SOCKET_PATH_BYTES:
        return folder
    return Path(tempfile.mkdtemp(prefix="bareflow-", dir="/tmp"))


def ram_directory(folder: Path, size: int) -> Path:
    """Where a RAM file of `size` bytes finds room: in memory if possible, else on a disk.

    A full file system would kill QEMU with SIGBUS at some later store, so the room is checked first.
    """
    candidates = [SHARED_MEMORY, folder, Path("/var/tmp"), Path.cwd()]
    for candidate in candidates:
        if candidate.is_dir() and os.access(candidate, os.W_OK) and _room(candidate) >= size + ROOM_TO_SPARE:
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise BareflowError(f"no room for {size >> 20} MiB of guest RAM in {looked}; free some or use less memory")


def make_ram_file(folder: Path, name: str, size: int) -> Path:
    """An empty RAM file of `size` bytes, mode 0600, sparse, where there is room for it."""
    place = ram_directory(folder, size)
    if place == folder:
        handle, path = (os.open(folder / "ram", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), str(folder / "ram"))
    else:
        handle, path = tempfile.mkstemp(prefix=f"bareflow-{name}-", suffix=".ram", dir=place)
    try:
        os.ftruncate(handle, size)
    finally:
        os.close(handle)
    return Path(path)


def _room(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes machine.json so that a reader sees the old one or the whole new one."""
    write_atomically(folder / RECORD, json.dumps(record, indent=2) + "\n")


def read_record(folder: Path) -> dict[str, Any] | None:
    """What machine.json says, None when there is none; raises BadData when it cannot be right."""
    try:
        record = read_json(folder / RECORD, MOST_RECORD_BYTES)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise BadData(f"{folder / RECORD} is damaged ({error}); remove {folder}") from error
    if not isinstance(record, dict):
        raise BadData(f"{folder / RECORD} is damaged (not an object); remove {folder}")
    return record


def qemu_messages(folder: Path) -> str:
    """What QEMU itself said, on one line."""
    try:
        text = read_end(folder / LOG, MESSAGE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[-MESSAGE_CHARACTERS:]


def remove(folder: Path) -> None:
    """Removes a machine's directory."""
    shutil.rmtree(folder, ignore_errors=True)


def folders() -> list[Path]:
    """The directories of all machines of this user."""
    named = (folder for folder in root().iterdir() if NAME.fullmatch(folder.name))
    return sorted(folder for folder in named if folder.is_dir() and not folder.is_symlink())


def is_runtime(folder: Path) -> bool:
    """True for a directory made by `claim`, which goes away with its machine."""
    return folder.parent == root()
