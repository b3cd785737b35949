"""Where are the records of a stock kernel, and what do they say of its code?

Every record that an answer was read from is noted: it is part of that answer's provenance.
"""

from __future__ import annotations

from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.answer import Located
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.jit_code import BUFFER_BYTES
from bareflow_gdb.guest.stock.extents import extents
from bareflow_gdb.guest.stock.jit import Entries, read_entries
from bareflow_gdb.guest.stock.modules import claimed_sizes, module_names
from bareflow_gdb.guest.stock.places import Places
from bareflow_gdb.guest.stock.pools import Owner
from bareflow_gdb.guest.stock.search import JIT, KINDS, MANAGER
from bareflow_gdb.guest.stock.swaps import COMPARED
from bareflow_gdb.memory.protocol import Memory


class Records:
    """The records of one kernel, for one question."""

    def __init__(self, memory: Memory, places: Places) -> None:
        self.memory = memory
        self.places = places
        self.found: list[Located] = []
        """Those that were read."""

    def address(self, kind: str) -> Address:
        """Where a record is; raises BadData with one sentence when it is not there (yet)."""
        finding = self.places.find(kind)
        if finding not in self.found:
            self.found.append(finding)
        return finding.address

    def all_known(self) -> list[Located]:
        """Every record that was found and still is there; when there is none they are searched for."""
        for kind in [finding.what for finding in self.places.known()] or KINDS:
            self.if_there(kind)
        return list(self.places.known())

    def if_there(self, kind: str) -> Address | None:
        """The same; None when it is not there (yet)."""
        try:
            return self.address(kind)
        except (BadData, ReadError):
            return None

    def entries(self) -> Entries:
        """The functions of the adaptive JIT. Raises BadData, ReadError."""
        return read_entries(self.memory, self.address(JIT))

    def code_sizes(self) -> dict[Address, int]:
        """Bytes of each level's code by its address, as far as the records tell."""
        return self._sizes()[0]

    def own_code(self) -> dict[Address, int]:
        """The same, and where the records do not tell it the bytes that are surely of that code."""
        sizes, own = self._sizes()
        return sizes | own

    def _sizes(self) -> tuple[dict[Address, int], dict[Address, int]]:
        return _code_sizes(self.memory, self.entries(), self.if_there(MANAGER), self.places)

    def owners(self) -> dict[int, Owner]:
        """Who points into a pool: what is not there (yet) gives no name."""
        owners: dict[int, Owner] = {}
        manager, jit = self.if_there(MANAGER), self.if_there(JIT)
        if manager is not None:
            for index, (name, code, _) in enumerate(module_names(self.memory, manager, self.places.generation())):
                owners[code] = Owner("module", index, f"module {name}")
        if jit is not None:
            for entry in read_entries(self.memory, jit).entries:
                used = {f"O{level} code": code for level, code in enumerate(entry.level_codes)}
                used |= {"name": entry.name_at, "module name": entry.module_name_at, "code": entry.buffer}
                for text, at in used.items():
                    if at:
                        owners[at] = Owner("function", entry.index, f"{entry.name}, {text}")
        return owners


def known_code(memory: Memory, places: Places) -> dict[Address, int]:
    """`own_code` of records that were found before: nothing is searched, and the CPU is not asked."""
    found = {finding.what: finding.address for finding in places.known()}
    if JIT not in found:
        return {}
    sizes, own = _code_sizes(memory, read_entries(memory, found[JIT]), found.get(MANAGER), places)
    return sizes | own


def _code_sizes(
    memory: Memory, entries: Entries, manager: Address | None, places: Places
) -> tuple[dict[Address, int], dict[Address, int]]:
    modules = [] if manager is None else module_names(memory, manager, places.generation())
    sizes = claimed_sizes(modules)
    for entry in entries.entries:
        sizes |= {code: entry.code_size(level) or sizes.get(code, 0) for level, code in enumerate(entry.level_codes)}
        sizes |= {one.code: one.code_size for one in entry.installed}
    known = {code: size for code, size in sizes.items() if code and size}
    levels = [(entry, code) for entry in entries.entries[:COMPARED] for code in entry.level_codes if code]
    open_ended = {code: entry.buffer_bytes or BUFFER_BYTES for entry, code in levels if code not in known}
    seen, own = extents(memory, open_ended) if open_ended else ({}, {})
    return known | seen, own
