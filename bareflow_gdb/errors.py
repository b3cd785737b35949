"""What can go wrong, as the user sees it: `str(error)` is one sentence that ends in the next step."""

from __future__ import annotations

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


class UsageError(BareflowError):
    """What was asked for makes no sense as it was asked."""
