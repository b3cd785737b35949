"""What did machines leave that no directory tells of, and what that a machine's directory names is really ours?

A machine.json is believed about files only as far as `bareflow run` would have made them, and this user owns them.
What lies outside the directory is found without it too: by the command line of QEMU, and by the name of a RAM file.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu.command import EMULATOR
from bareflow_gdb.qemu.process import Process

_RAM = re.compile(r"bareflow-(?P<name>.+)-[A-Za-z0-9_]{8}\.ram", re.DOTALL)
_SOCKETS = re.compile(r"/tmp/bareflow-[A-Za-z0-9_]{8}")
_SOCKET_NAMES = ("gdb.sock", "qmp.sock")
_ROOMS = (places.SHARED_MEMORY, Path("/var/tmp"))
_STOP_SECONDS = 10.0


def is_owned_folder(folder: Path) -> bool:
    """A directory of this user, and no link to one."""
    try:
        info = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()


def remove_ram(path: Path, folder: Path) -> None:
    """Removes a machine's RAM file, when it is one."""
    if path == folder / "ram" or _RAM.fullmatch(path.name):
        _unlink(path, stat.S_ISREG)


def remove_sockets(sockets: Path, folder: Path) -> None:
    """Removes a machine's sockets, and their directory when it was made for them."""
    if sockets != folder and not (_SOCKETS.fullmatch(str(sockets)) and is_owned_folder(sockets)):
        return
    for name in _SOCKET_NAMES:
        _unlink(sockets / name, stat.S_ISSOCK)
    if sockets != folder:
        with suppress(OSError):
            sockets.rmdir()


def _unlink(path: Path, is_kind: Callable[[int], bool]) -> None:
    with suppress(OSError):
        info = path.lstat()
        if is_kind(info.st_mode) and info.st_uid == os.getuid():
            path.unlink()


@dataclass(frozen=True)
class Leftover:
    """A QEMU of ours whose machine cannot be found any more, or a RAM file that no process uses."""

    name: str
    """The machine's."""
    ram: Path
    pid: int | None = None
    folder: Path | None = None
    sockets: Path | None = None

    def __str__(self) -> str:
        if self.pid is None:
            return f"the RAM file {self.ram} of machine {self.name}, which has ended"
        return f"QEMU of machine {self.name} (process {self.pid}), whose directory is gone"

    def remove(self) -> None:
        """Ends the process, removes the files. Raises BareflowError when it does not end."""
        if self.pid is not None:
            process = Process(self.pid)
            for number in (signal.SIGTERM, signal.SIGKILL):
                process.kill(number)
                if process.wait(_STOP_SECONDS):
                    break
            else:
                raise BareflowError(f"process {self.pid} does not end; it may hang in the kernel")
        folder = self.folder or self.ram.parent
        remove_ram(self.ram, folder)
        if self.sockets is not None:
            remove_sockets(self.sockets, folder)


def is_emulator(pid: int) -> bool:
    """Whether this process is a QEMU of this user."""
    process = Path(f"/proc/{pid}")
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        return process.stat().st_uid == os.getuid() and Path(os.fsdecode(words[0])).name == EMULATOR
    except OSError:
        return False


def leftovers() -> list[Leftover]:
    """What nobody can name any more, of this user only."""
    running = list(_emulators())
    lost = [each for each in running if each.folder is not None and not each.folder.exists()]
    return lost + _unused_ram({each.ram for each in running})


def running_in(folder: Path) -> list[Leftover]:
    """The QEMU whose machine's directory this is, whatever its machine.json says."""
    return [each for each in _emulators() if each.folder == folder]


def _emulators() -> list[Leftover]:
    found: list[Leftover] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid != os.getuid():
                continue
            words = (process / "cmdline").read_bytes().decode("utf-8", "surrogateescape").split("\0")
        except OSError:
            continue
        if Path(words[0]).name == EMULATOR and (each := _emulator(int(process.name), words)) is not None:
            found.append(each)
    return found


def _emulator(pid: int, words: list[str]) -> Leftover | None:
    """From the words that `command_line` makes; None: another program started it."""
    given = list(pairwise(words))
    ram = _path([value for word, value in given if word == "-object"], "id=ram", "mem-path")
    chardevs = [value for word, value in given if word == "-chardev"]
    serial, qmp = _path(chardevs, "id=serial0", "path"), _path(chardevs, "id=qmp0", "path")
    name = next((value.partition("=")[2].replace(",,", ",") for word, value in given if word == "-name"), "")
    if ram is None or serial is None or qmp is None:
        return None
    if ram.parent != serial.parent and not _RAM.fullmatch(ram.name):
        return None
    return Leftover(name, ram, pid, serial.parent, qmp.parent)


def _path(options: list[str], identity: str, key: str) -> Path | None:
    for option in options:
        # Two commas are one of the value's.
        parts = [part.replace("\0", ",") for part in option.replace(",,", "\0").split(",")]
        value = next((part.partition("=")[2] for part in parts if part.startswith(f"{key}=")), None)
        if identity in parts and value:
            return Path(value)
    return None


def _unused_ram(used: set[Path]) -> list[Leftover]:
    """RAM files of ended machines whose directory is gone too: a machine that `bareflow list` shows keeps its own."""
    kept = used | {Path(str(record.get("ram"))) for record in map(_record, places.folders()) if record}
    found = []
    for room in _ROOMS:
        for path in room.glob("bareflow-*.ram"):
            match = _RAM.fullmatch(path.name)
            with suppress(OSError):
                info = path.lstat()
                old = time.time() - info.st_ctime > places.ABANDONED_SECONDS
                ours = stat.S_ISREG(info.st_mode) and info.st_uid == os.getuid()
                if match and ours and old and path not in kept and not _is_mapped(info):
                    found.append(Leftover(match["name"], path))
    return found


def _record(folder: Path) -> dict[str, object] | None:
    try:
        return places.read_record(folder)
    except (BareflowError, OSError):
        return None


def _is_mapped(info: os.stat_result) -> bool:
    """Whether a process of ours has it open or mapped, for instance a QEMU with another command line."""
    wanted = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x} {info.st_ino} "
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            if wanted in maps.read_text(encoding="utf-8", errors="replace"):
                return True
    return False
