"""How does a file or a directory come to be there whole, private and undisturbed, or not at all? How is one read?"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bareflow_gdb.errors import CannotWrite, Unreachable, UsageError
from bareflow_gdb.small_files import NotAFile, open_plain

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700
BY_UMASK = 0o666
"""For what holds nothing of a guest: the products of a build."""

PARTIAL = ".partial"
# Whoever only asks whether something is locked holds the lock for a moment himself.
_LOCK_SECONDS = 0.2


def open_regular(path: Path) -> IO[bytes]:
    """`open_plain`, in sentences for whoever named the file.

    Raises UsageError when it is no file, Unreachable when it cannot be opened.
    """
    try:
        return open_plain(path)
    except NotAFile as error:
        if error.kind == "a socket":
            raise UsageError(f"{path} is a socket; a gdbstub's is written unix:{path}") from error
        raise UsageError(
            f"{path} is {error.kind}, not a file; write its bytes to a file first, and give that"
        ) from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"{path} cannot be opened ({getattr(error, 'strerror', None) or error})") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raises CannotWrite, which names `path`, for every OSError of the block."""
    try:
        yield
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(path, error) from error


@contextmanager
def replacing(path: Path, mode: int = PRIVATE) -> Iterator[Path]:
    """A file beside `path` to write to: it takes the place of `path` when the block ends well, else it goes.

    mode: as for a new file, less the umask. Raises CannotWrite.
    """
    if path.is_dir():
        raise CannotWrite(path, IsADirectoryError(errno.EISDIR, ""))
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    try:
        with writing(path):
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
            yield partial
            partial.replace(path)
    finally:
        # Below a file there is none either.
        with suppress(FileNotFoundError, NotADirectoryError):
            partial.unlink()


def write_atomically(path: Path, data: bytes | str, mode: int = PRIVATE) -> None:
    """Writes a file that never exists half-written. Raises CannotWrite."""
    with replacing(path, mode) as partial:
        partial.write_bytes(data.encode() if isinstance(data, str) else data)


def private_opener(name: str, flags: int) -> int:
    """For `open`: a file that it makes is readable by its user only."""
    return os.open(name, flags, PRIVATE)


@contextmanager
def filling(directory: Path) -> Iterator[None]:
    """Makes `directory`, or takes an empty one, and holds its lock; all that was made goes when the block fails.

    Raises UsageError when there is something in it or somebody else fills it, CannotWrite when it cannot be made.
    """
    made: list[Path] = []
    refusal = f"{directory} is not an empty directory; give a new one with --out"
    try:
        with writing(directory):
            for folder in reversed([each for each in (directory, *directory.parents) if not each.exists()]):
                folder.mkdir(mode=PRIVATE_FOLDER)
                made.append(folder)
        if not directory.is_dir():
            raise UsageError(refusal)
        with locked(directory, refusal):
            if not _is_unused(directory):
                raise UsageError(refusal)
            _empty(directory)
            try:
                yield
            except BaseException:
                _empty(directory)
                raise
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise


def require_unused(directory: Path) -> None:
    """Raises UsageError when `filling` would: for whoever waits before there is something to fill it with."""
    if directory.exists() and not (directory.is_dir() and _is_unused(directory)):
        raise UsageError(f"{directory} is not an empty directory; give a new one with --out")


def _is_unused(directory: Path) -> bool:
    """Is there nothing in it, or nothing but what a killed program had begun?"""
    return all(entry.name.startswith(".") and entry.name.endswith(PARTIAL) for entry in directory.iterdir())


def _empty(directory: Path) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Holds the lock of a file or directory, which the process's death gives back too.

    Raises UsageError(refusal) when another process, or another part of this one, holds it.
    """
    with writing(path):
        handle = os.open(path, os.O_RDONLY)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _lock(handle, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise UsageError(refusal)
            time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Does anybody hold the lock at this moment?"""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system that has no locks must not keep anybody from working on it.
        return True
    return True


def share(path: Path) -> None:
    """Lets others read a file, or a directory with all that is in it, as far as the umask allows."""
    allowed = ~_umask()
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if not each.is_symlink():
            each.chmod((0o777 if each.is_dir() else BY_UMASK) & allowed)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
