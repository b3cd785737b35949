"""What does a small file hold that anybody may have written: its bytes, its JSON?"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any


def read_start(path: Path, most: int) -> bytes:
    """The first `most` bytes of a file; a pipe, for which one would wait, is none.

    Raises OSError when it cannot be read, ValueError when it is no file.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a file")
        return file.read(most)


def read_small(path: Path, most: int) -> bytes:
    """All bytes of a file. Raises ValueError when it has more than `most`, and like `read_start`."""
    data = read_start(path, most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def parse_json(text: bytes | str) -> Any:
    """What the JSON says. Raises ValueError for anything else, also for what nests deeper than Python counts."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def read_json(path: Path, most: int) -> Any:
    """What a file of at most `most` bytes says. Raises OSError, ValueError."""
    return parse_json(read_small(path, most))
