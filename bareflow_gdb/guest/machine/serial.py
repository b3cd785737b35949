"""What came out of the guest's serial port, by the file it was written to, or by the kernel's own log buffer?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import Unreachable, UsageError
from bareflow_gdb.foreign import console_of
from bareflow_gdb.guest.machine.log import Log
from bareflow_gdb.memory.contents import Contents

MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Serial:
    """The end of the serial output."""

    source: str
    """"file", or "log buffer": the last 16 KiB that the kernel itself keeps."""
    text: str
    written: int
    """Bytes in all."""
    lost: int
    """Bytes before the text that is shown."""


def read_serial_file(path: Path, last: int | None = None) -> Serial:
    """The last `last` bytes of a serial log, whole lines. Raises Unreachable when it cannot be read."""
    try:
        file = Contents(path, may_be_empty=True)
        coding, size = _coding(file.read(0, 4)), file.size
        wanted = min(size, MOST_BYTES if last is None else _checked(last))
        # A character of UTF-16 begins at an even byte.
        wanted += (size - wanted) % 2 if coding else 0
        data = file.read(size - wanted, wanted)
    except Unreachable as error:
        raise Unreachable(f"the serial log {path} cannot be read ({error})") from error
    text = console_of(as_bytes(data, coding))
    if wanted < size:
        text = text.partition("\n")[2]
    return Serial("file", text, size, size - wanted)


def as_bytes(data: bytes, coding: str | None = None) -> bytes:
    """What came out of the port, of a log in UTF-16 too; `coding` None: by its first bytes."""
    coding = _coding(data[:4]) if coding is None else coding
    return data.decode(coding, "replace").removeprefix("\ufeff").encode("latin-1", "replace") if coding else data


def _coding(head: bytes) -> str:
    """UTF-16 is what PowerShell's `>` makes of a log, with a byte order mark or without; "" = bytes as they came."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16-le" if head[0] == 0xFF else "utf-16-be"
    if len(head) == 4 and head[1::2] == b"\0\0" and all(head[::2]):
        return "utf-16-le"
    return "utf-16-be" if len(head) == 4 and head[::2] == b"\0\0" and all(head[1::2]) else ""


def serial_from_log(log: Log) -> Serial:
    """The kernel's log buffer as serial output."""
    return Serial("log buffer", log.text, log.written, log.lost)


def _checked(last: int) -> int:
    if last < 0:
        raise UsageError(f"the last {last} bytes make no sense; give a number that is not negative")
    return min(last, MOST_BYTES)
