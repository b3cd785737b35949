"""Which file is the guest's second disk, and what is in it?"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bareflow_gdb.errors import BadData, Unreachable
from bareflow_gdb.memory.protocol import Memory

_SLAVE = "ide0-hd1"
_BLOCK = re.compile(r"^(\S+?)(?: \([^)]*\))?: (.*(?:\n +.*)*)", re.MULTILINE)
_BACKING = re.compile(r"Backing file: +(.+?)(?: \(chain depth: \d+\))?$", re.MULTILINE)
_LARGEST = 4 << 30


def image_path(memory: Memory) -> Path:
    """The file behind the first channel's slave disk, by QEMU. Raises Unreachable when there is none."""
    for name, about in _BLOCK.findall(memory.monitor("info block").replace("\r", "")):
        if name != _SLAVE or about.startswith("[not inserted]"):
            continue
        backing = _BACKING.search(about)
        path = backing[1] if backing else re.sub(r" \([^()]*\)$", "", about.partition("\n")[0])
        if not path.strip() or "\0" in path:
            raise Unreachable("QEMU does not say which file the second disk is; name it: `bareflow fat list IMAGE`")
        return Path(path)
    raise Unreachable("this machine has no second disk; start it with `bareflow run --disk IMAGE`")


@contextmanager
def opened(path: Path) -> Iterator[mmap.mmap]:
    """The image, mapped for reading."""
    try:
        # Its name came from the stub: reading anything else could wait for ever, or do something.
        if path.exists() and not (path.is_file() or path.is_block_device()):
            raise Unreachable(f"the disk image {path} is not a file; give the image itself")
        with path.open("rb") as file:
            if not 0 < file.seek(0, 2) <= _LARGEST:
                raise BadData(f"{path} is empty or larger than any FAT16 volume; give a disk image")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
                yield image
    except OSError as error:
        raise Unreachable(f"the disk image {path} cannot be read ({error.strerror or error})") from error
