"""Where does gdb look for the kernel's sources, wherever it was started? Last of all, beside the suite.

Paths in the kernel's DWARF begin in the repository, so that two clones build the same bytes; gdb alone would look
in the directory that it was started in.
"""

from __future__ import annotations

import gdb

from bareflow_gdb.foreign import gdb_word
from bareflow_gdb.qemu.default import SOURCES


def find_sources() -> None:
    """Adds the suite's own sources behind every directory that the user gave."""
    known = str(gdb.parameter("directories")).split(":")
    # gdb has no way to write a colon in a directory's name.
    if str(SOURCES) not in known and ":" not in str(SOURCES):
        gdb.execute(f"set directories {gdb_word(':'.join((*known, str(SOURCES))))}", to_string=True)
