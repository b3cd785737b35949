"""What can go wrong, as the user sees it: `str(error)` is one sentence that ends in the next step."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from bareflow_gdb import foreign


class BareflowError(Exception):
    """The suite's own error; everything that a user may meet is one of these.

    What a guest, a library or a file contributed to it goes through the gate here.
    """

    def __str__(self) -> str:
        return foreign.sentence(super().__str__())


class ReadError(BareflowError):
    """Guest memory could not be read or written: address, size in bytes, and what was looked for there."""

    def __init__(self, address: int, size: int, what: str, why: str, *, verb: str = "read") -> None:
        super().__init__(f"cannot {verb} {size} bytes at 0x{address:08x} ({what}): {why}")
        self.address = address
        self.size = size
        self.what = what
        self.why = why


class BadData(BareflowError):
    """Guest data, or a file, that cannot be right."""


class Unreachable(BareflowError):
    """There is no guest, it is gone, or it does not answer."""


class NotReached(BareflowError):
    """What was waited for did not come: the time is over, or the guest cannot get there any more."""


class UsageError(BareflowError):
    """What was asked for makes no sense as it was asked."""


class CannotWrite(BareflowError, OSError):
    """A file or directory could not be written: which, why, and what to do."""

    def __init__(self, path: Path, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
        step = _WRITE_STEPS.get(error.errno or 0, "choose another place")
        super().__init__(f"cannot write {path}: {why}; {step}")
        self.errno = error.errno


_WRITE_STEPS = {
    errno.ENOENT: "make its folder first",
    errno.ENOSPC: "make room there, or choose a place that has room",
    errno.EDQUOT: "make room there, or choose a place that has room",
    errno.EISDIR: "give a file's name in it",
    errno.EFBIG: "raise the limit of file sizes (`ulimit -f`), or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
}
