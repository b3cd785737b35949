"""How does a program start well whatever its standard streams are: closed, full, or of a locale that is not UTF-8?"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_NAME = "bareflow-output"


def prepare() -> None:
    """After this all three streams are there, and no character is one that cannot be written."""
    # The lowest free number is taken: a closed stream would go to whatever file is opened next.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the program
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(_Tolerant()), encoding=encoding, line_buffering=True)
    codecs.register_error(_NAME, _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NAME)


class _Tolerant(io.FileIO):
    """Standard error: what nobody takes is no reason to give no answer; the exit code tells it."""

    def __init__(self) -> None:
        super().__init__(2, "w", closefd=False)

    def write(self, data: Buffer, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


def _substitute(error: UnicodeError) -> tuple[bytes | str, int]:
    """Bytes of a file's name as they were, "?" for what the locale cannot show."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    made = [code - 0xDC00 if 0xDC80 <= (code := ord(character)) <= 0xDCFF else ord("?") for character in wrong]
    return bytes(made), error.end
