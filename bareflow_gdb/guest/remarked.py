"""How do a version's instructions, its source and LLVM's remarks stand beside one another?"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from pathlib import Path

from bareflow_gdb.errors import UsageError
from bareflow_gdb.files import open_regular
from bareflow_gdb.foreign import printable
from bareflow_gdb.guest.code import remarks
from bareflow_gdb.guest.code.source_lines import read_places
from bareflow_gdb.guest.code.symbol_index import read_index
from bareflow_gdb.guest.disas import Listing

_MOST_SOURCE = 1 << 20


def remarked(listing: Listing, machine_directory: Path, source: Path | None) -> Listing:
    """The listing with the line of each instruction, and what LLVM said of them; the text of the lines by `source`.

    No file is opened because the guest's bitcode names it. Raises UsageError, BadData, Unreachable.
    """
    if listing.version is None:
        raise UsageError("remarks are kept of versions that the host compiled; name a function, as in primes@O3 #24")
    making = remarks.read(machine_directory, listing.version)
    file = next((one for one in read_index(machine_directory) if one.version == listing.version), None)
    if file is None or file.text != listing.address:
        raise UsageError(f"the remarks kept for {listing.title} are of a machine before; recompile it")
    places = read_places(file.path)
    starts = sorted(places)
    lines = []
    for line in listing.lines:
        index = bisect_right(starts, line.offset) - 1
        lines.append(replace(line, source=places[starts[index]] if index >= 0 else None))
    return replace(listing, lines=tuple(lines), making=making, source=_text(source) if source is not None else ())


def _text(path: Path) -> tuple[str, ...]:
    with open_regular(path) as file:
        data = file.read(_MOST_SOURCE)
    return tuple(printable(line) for line in data.decode("utf-8", "replace").splitlines())
