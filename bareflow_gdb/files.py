"""How does a file come to be there whole, or not at all?"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: it takes the place of `path` when the block ends well, else it goes."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | str, mode: int = 0o666) -> None:
    """Writes a file that never exists half-written; `mode` as for a new file, less the umask."""
    with replacing(path) as partial:
        partial.touch(mode)
        partial.write_bytes(data.encode() if isinstance(data, str) else data)
