"""What came out of the guest's serial port, by the file it was written to, or by the kernel's own log buffer?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import Unreachable, UsageError
from bareflow_gdb.foreign import lines_of
from bareflow_gdb.guest.machine.log import Log

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
        with path.open("rb") as file:
            size = file.seek(0, 2)
            wanted = min(size, MOST_BYTES if last is None else _checked(last))
            file.seek(size - wanted)
            data = file.read(wanted)
    except OSError as error:
        raise Unreachable(f"the serial log {path} cannot be read ({error.strerror})") from error
    text = lines_of(data)
    if wanted < size:
        text = text.partition("\n")[2]
    return Serial("file", text, size, size - wanted)


def serial_from_log(log: Log) -> Serial:
    """The kernel's log buffer as serial output."""
    return Serial("log buffer", log.text, log.written, log.lost)


def _checked(last: int) -> int:
    if last < 0:
        raise UsageError(f"the last {last} bytes make no sense; give a number that is not negative")
    return min(last, MOST_BYTES)
