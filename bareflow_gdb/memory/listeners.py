"""Which process listens at an address of this host, and is someone connected to it? Read from Linux's tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp."""
_CONNECTED = "03"
"""SS_CONNECTED in /proc/net/unix."""
_ACCEPTS = 0x10000
"""__SO_ACCEPTCON in /proc/net/unix."""


def behind(address: str) -> int | None:
    """The process that listens at `tcp:HOST:PORT` or `unix:PATH` on this host; None: it cannot be told."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        return _unix_listener(rest)
    host, _, port = rest.rpartition(":")
    if kind == "tcp" and port.isdecimal() and host in ("", "localhost", "127.0.0.1"):
        return _tcp_listener(int(port))
    return None


def is_taken(path: str) -> bool:
    """Is someone connected to the unix socket? QEMU's gdbstub serves one at a time, and lets all others wait."""
    return any(row.state == _CONNECTED for row in _unix_sockets(path))


class _UnixSocket(NamedTuple):
    flags: int
    state: str
    inode: str


def _unix_sockets(path: str) -> list[_UnixSocket]:
    """The kernel's sockets of that name: the one that listens, and this end of each connection."""
    # Not by connecting: QEMU would stop the guest.
    try:
        wanted = (path, str(Path(path).resolve()))
        rows = [line.split() for line in os.fsdecode(Path("/proc/net/unix").read_bytes()).splitlines()[1:]]
        return [_UnixSocket(int(row[3], 16), row[5], row[6]) for row in rows if len(row) > 7 and row[7] in wanted]
    except (OSError, ValueError):
        return []


def _unix_listener(path: str) -> int | None:
    return _holder({row.inode for row in _unix_sockets(path) if row.flags & _ACCEPTS})


def _tcp_listener(port: int) -> int | None:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text(encoding="ascii").splitlines()[1:]]
        except OSError:
            continue
        inodes |= {row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port}
    return _holder(inodes)


def _holder(inodes: set[str]) -> int | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in wanted for link in (folder / "fd").iterdir()):
                return int(folder.name)
        except OSError:
            # Another user's process, or one that has just ended.
            continue
    return None
