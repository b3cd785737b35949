"""Where does each function's code pointer lead at this moment, by the adaptive JIT's own table?

Of every kernel with an adaptive JIT, ours or a stock one: both keep `adaptive_jit_t`. Made to be asked very often, of
memory whose reads cost nothing: a look is one read of 3 KB, and what has changed is decoded when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, ReadError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.code.functions import Version, read_tables
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.stock.jit import read_entries, swapped_levels
from bareflow_gdb.guest.stock.kernel import looks_stock
from bareflow_gdb.guest.stock.search import JIT
from bareflow_gdb.guest.stock.signatures import adaptive_jit
from bareflow_gdb.guest.stock.versions import reason_of_level, version_of_host, version_of_level

_ENTRIES = layouts.offset("adaptive_jit", "functions")
_COUNT = layouts.offset("adaptive_jit", "function_count")
_ENTRY_BYTES = layouts.size("jit_function_entry")
_SLOT = layouts.offset("jit_function_entry", "current_code")
_PROFILER_ID = layouts.offset("jit_function_entry", "profiler_id")
_PROFILE_BYTES = layouts.size("function_profile")
_CALLS = layouts.offset("function_profile", "call_count")
_MOST = layouts.const("MAX_JIT_FUNCTIONS")
_PROFILES = layouts.const("MAX_PROFILED_FUNCTIONS")


@dataclass(frozen=True)
class Look:
    """All pointers at one moment."""

    codes: tuple[int, ...]
    """What each function's pointer held, by the function's index."""
    ids: tuple[int, ...]
    """Under which number the profiler counts each of them."""


@dataclass(frozen=True)
class Known:
    """What the kernel's records say of the code that a pointer leads to."""

    level: int
    version: int
    """0 = no record tells."""
    reason: str
    """Why it was made, a word of `enum bf_reason`; "none" = that is not told."""


@dataclass(frozen=True)
class Count:
    """What the profiler has counted of a function."""

    calls: int
    cycles: int


class Pointers:
    """The code pointers of one guest. Raises nothing where the guest is at fault: what cannot be read is None."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.memory = guest.memory
        self.address = 0
        """Of `adaptive_jit_t`; 0 = it was not found yet."""
        self.is_stock = False

    def find(self) -> bool:
        """Looks for the table, which a kernel that has just begun does not have yet: some milliseconds."""
        try:
            root = self.guest.root()
        except BareflowError:
            return self._find_stock()
        self.address = int(root.adaptive_jit)
        return bool(self.address)

    def _find_stock(self) -> bool:
        try:
            if not looks_stock(self.memory):
                return False
            self.guest.places.begin()
            self.address, self.is_stock = int(self.guest.places.find(JIT).address), True
        except BareflowError:
            return False
        return True

    def told(self, address: int) -> None:
        """A function of a stock kernel was called with this table."""
        self.address, self.is_stock = address, True

    @property
    def count_at(self) -> int:
        """Where the number of functions is kept."""
        return self.address + _COUNT

    def slot(self, index: int) -> int:
        """Where a function's code pointer is kept, also that of one that is not registered yet."""
        return self.address + _ENTRIES + index * _ENTRY_BYTES + _SLOT

    def first_code(self, index: int) -> int:
        """What a function ran when it was registered; 0 = that is not told."""
        try:
            at = self.address + _ENTRIES + index * _ENTRY_BYTES + layouts.offset("jit_function_entry", "code_v0")
            return int.from_bytes(self.memory.read(at, 4, "first code"), "little")
        except BareflowError:
            return 0

    def look(self) -> Look | None:
        """The pointers now; None where there is no such table, or no more."""
        if not self.address:
            return None
        try:
            data = self.memory.read(self.address + _ENTRIES, _COUNT + 4 - _ENTRIES, "adaptive JIT")
        except BareflowError:
            return None
        count = int.from_bytes(data[_COUNT - _ENTRIES :][:4], "little")
        if not 0 < count <= _MOST:
            return None
        entries = [data[at * _ENTRY_BYTES :][:_ENTRY_BYTES] for at in range(count)]
        return Look(*(tuple(_word(entry, at) for entry in entries) for at in (_SLOT, _PROFILER_ID)))

    def is_there(self) -> bool:
        """Does the memory at the address still look like the table? A stock kernel's lies on its stack."""
        if not self.is_stock:
            return True
        try:
            return adaptive_jit(self._read, self.address, False) is not None
        except BareflowError:
            return False

    def _read(self, address: int, size: int) -> bytes | None:
        try:
            return self.memory.read(address, size, "adaptive JIT")
        except ReadError:
            return None

    def count(self, profiler_id: int) -> Count | None:
        """What the profiler says of a function."""
        if not 0 <= profiler_id < _PROFILES:
            return None
        try:
            data = self.memory.read(self.address + profiler_id * _PROFILE_BYTES + _CALLS, 16, "function profile")
        except BareflowError:
            return None
        return Count(*(int.from_bytes(half, "little") for half in (data[:8], data[8:])))

    def known(self, index: int, code: int) -> Known:
        """What is recorded of the code that the pointer of a function leads to."""
        try:
            return self._known_of_stock(index, code) if self.is_stock else self._known_of_own(index, code)
        except BareflowError:
            return Known(0, 0, "none")

    def _known_of_own(self, index: int, code: int) -> Known:
        tables = read_tables(self.memory, self.guest.root(), [], every=True, causes=False)
        of = [one for one in tables.versions if one.function == index and one.entry == code and one.state != "freed"]
        version: Version | None = max(of, key=lambda one: one.number, default=None)
        if version is None:
            return Known(0, 0, "none")
        return Known(version.level, version.number, "rollback" if version.rolled_back_to else version.reason)

    def _known_of_stock(self, index: int, code: int) -> Known:
        # The guest runs on: it may have changed the table since the look.
        entry = next((one for one in read_entries(self.memory, self.address).entries if one.index == index), None)
        if entry is None:
            return Known(0, 0, "none")
        host = next((one for one in entry.installed if one.entry == code), None)
        if host is not None:
            return Known(host.level, version_of_host(index, host.number), "host_asked")
        levels = [level for level, at in enumerate(entry.level_codes) if at == code]
        if not levels:
            return Known(0, 0, "none")
        return Known(levels[-1], version_of_level(index, levels[-1]), reason_of_level(entry, levels[-1]))

    def swaps(self) -> dict[int, int] | None:
        """How many swaps the tables tell, by function; of a kernel with its own count all of them, under -1."""
        if not self.address:
            return None
        try:
            if not self.is_stock:
                return {-1: read_counters(self.memory, self.guest.root()).swap_count}
            if not self.is_there():
                return None
            entries = read_entries(self.memory, self.address).entries
            return {entry.index: len(swapped_levels(entry)) for entry in entries}
        except BareflowError:
            return None


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
