"""What can be asked of a guest? The one object that every question starts from.

Nothing is read before it is asked for, and nothing is kept between questions but the root's place:
caching is the memory reader's business, which knows when the guest has moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.guest.base.clock import Counters, read_counters
from bareflow_gdb.guest.base.find import find_root, read_root
from bareflow_gdb.guest.base.reading import settled
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.boot import Boot, read_boot
from bareflow_gdb.guest.code import events as events_
from bareflow_gdb.guest.code.bitcode import Bitcode, read_bitcode
from bareflow_gdb.guest.code.events import LAST, Event, Ring
from bareflow_gdb.guest.code.functions import Function, Version, function_table, read_tables
from bareflow_gdb.guest.code.jit import Jit, read_jit
from bareflow_gdb.guest.code.mailbox import Mailbox, read_mailbox
from bareflow_gdb.guest.code.profiler import Profile, read_profile
from bareflow_gdb.guest.code.swaps import EVENTS, Swaps, list_swaps
from bareflow_gdb.guest.details import Details
from bareflow_gdb.guest.machine.exception import ExceptionRecord, read_exception
from bareflow_gdb.guest.machine.log import Log, read_log
from bareflow_gdb.guest.modules.modules import Modules, read_modules
from bareflow_gdb.guest.names.identify import Identity, by_elf, identify
from bareflow_gdb.guest.pools.owners import Owners, read_owners
from bareflow_gdb.guest.pools.pools import Pools, read_pools
from bareflow_gdb.guest.status import Status, read_status
from bareflow_gdb.guest.stock.identify import identify_stock
from bareflow_gdb.guest.stock.kernel import Provenance, StockKernel, looks_stock
from bareflow_gdb.guest.stock.places import Cpu
from bareflow_gdb.guest.stock.window import Progress
from bareflow_gdb.memory.protocol import Memory

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.jit_code import JitCode

T = TypeVar("T")


class Guest(Details):
    """A guest seen through one `Memory`. Every question raises only BareflowError and its children."""

    def __init__(self, memory: Memory, symbols: Mapping[str, int] | None = None) -> None:
        self.memory = memory
        self.symbols: Mapping[str, int] = {} if symbols is None else symbols
        self.found_by = ""
        """How the root descriptor was found: "image header", "symbol" or "scan"; "" = not found yet."""
        self._root_address = 0
        self.stock = StockKernel(memory, self.symbols)
        """Answers when the kernel has no debug interface."""
        self.stock.places.cpu = lambda: _cpu(memory)

    @classmethod
    def attach(
        cls, memory: Memory, symbols: Mapping[str, int] | None = None, progress: Progress | None = None
    ) -> Guest:
        """A guest whose root has been looked for. It need not be there: the boot may not have come so far.

        `progress` is told, in sentences, of a search that takes longer than a second.
        """
        guest = cls(memory, symbols)
        guest.stock.places.progress = progress
        guest.find(scan=True)
        return guest

    def find(self, *, scan: bool = False) -> Root | None:
        """Looks for the root descriptor anew; None, and no error, when there is none that can be used.

        `scan` goes through RAM when nothing points to it: about 300 packets over a gdbstub, once per attach.
        """
        self.found_by, self._root_address = "", 0
        try:
            found = find_root(self.memory, self.symbols, scan=scan)
        except BareflowError:
            return None
        self.found_by, self._root_address = found.how, found.root.address
        return found.root

    def root(self) -> Root:
        """The root descriptor, 1 packet; raises BadData with the reason when none can be used."""
        if self._root_address:
            try:
                return read_root(self.memory, self._root_address)
            except BareflowError:
                # Another kernel may have been booted since: look once more, and say what is wrong then.
                self._root_address = 0
        found = find_root(self.memory, self.symbols, scan=False)
        self.found_by, self._root_address = found.how, found.root.address
        return found.root

    def boot(self) -> Boot:
        """Stages, disk, checks. Needs no root: it answers before a kernel is in memory. 3 packets."""
        root = self._root_or_none()
        return read_boot(self.memory, root, self._tsc_hz(root))

    def counters(self) -> Counters:
        """What the kernel counts while it runs. 2 packets."""
        return read_counters(self.memory, self.root())

    def modules(self, check: bool = False) -> Modules:
        """Loaded modules and their headers; `check` also computes each image's SHA-256."""
        root = self._root_unless_stock()
        if root is None:
            return self._settled(self.stock.modules)
        return self._settled(lambda: read_modules(self.memory, root, check))

    def pools(self, kind: str | None = None, check: bool = False) -> Pools:
        """The three pools or one of them; `check` also walks the pools' own block headers."""
        root = self._root_unless_stock()
        if root is None:
            return self._settled(lambda: self.stock.pools(kind))
        owners = read_owners(self.memory, root)
        return self._settled(lambda: read_pools(self.memory, root, owners, kind, check))

    def profile(self) -> Profile:
        """What the function profiler counted, the hottest first."""
        root = self._root_unless_stock()
        if root is None:
            return self._settled(self.stock.profile)
        return self._settled(lambda: read_profile(self.memory, root))

    def functions(self) -> tuple[Function, ...]:
        """The function table."""
        return tuple(function_table(self.memory, self.root()))

    def versions(self, causes: bool = True, every: bool = True) -> tuple[Version, ...]:
        """The version table by number; why each was made costs a packet of its own.

        Not `every`: what ten packets leave room for, where reads cost packets.
        """
        root = self.root()
        if not causes:
            root = replace(root, version_causes=Address(0))
        return tuple(read_tables(self.memory, root, [], every).versions)

    def jit_code(self) -> tuple[JitCode, ...]:
        """All code in memory that the adaptive JIT made, by address."""
        from bareflow_gdb.guest.code.jit_code import read_jit_code

        return read_jit_code(self)

    def jit(self, every: bool = False) -> Jit:
        """Functions with versions, thresholds, current code, control words; `every` as for `versions`."""
        root = self._root_unless_stock()
        if root is None:
            return self._settled(self.stock.jit)
        return self._settled(lambda: self._jit(root, every))

    def swaps(self, last: int | None = None, every: bool = False) -> Swaps:
        """Swaps from the version table; when it does not tell all, from the ring's last events too.

        `last` None: as many events as are cheap to read; `every` as for `versions`.
        """
        root = self._root_unless_stock()
        if root is None:
            return self._settled(self.stock.swaps)
        return self._settled(lambda: self._swaps(root, last, every))

    def mailbox(self) -> Mailbox:
        """The slots of registered functions."""
        root = self.root()
        return read_mailbox(self.memory, root, function_table(self.memory, root))

    def bitcode(self) -> tuple[Bitcode, ...]:
        """The bitcode wrapper of each function."""
        root = self._root_unless_stock()
        if root is None:
            return self.stock.bitcode()
        return tuple(read_bitcode(self.memory, function) for function in function_table(self.memory, root))

    def exception(self) -> ExceptionRecord:
        """The last exception taken; its count is 0 when there was none."""
        root = self.need_interface(
            "it prints exceptions on the screen only (`screen`), and gdb_scripts/dump_at_exception.py catches the next"
        )
        return read_exception(self.memory, root)

    def log(self, last: int | None = None) -> Log:
        """What was printed on COM1, the last `last` bytes or all that is kept."""
        root = self.need_interface(
            "it keeps no log; `serial` tells what came out of COM1, where that is written to a file"
        )
        return read_log(self.memory, root, last)

    def rings(self) -> tuple[Ring, ...]:
        """The headers of the event rings."""
        root = self.root()
        found = (events_.read_ring(self.memory, root, index) for index in range(len(root.rings)))
        return tuple(ring for ring in found if ring is not None)

    def events(self, last: int = LAST) -> list[Event]:
        """The last events of all rings by time, at most `last` of each."""
        return events_.read_all_last(self.memory, self.root(), last)

    def identify(self, address: int) -> Identity:
        """What is at this address? Works without a root too, with less to say."""
        try:
            root = self._root_unless_stock()
        except BareflowError:
            return identify(self.memory, None, self.symbols, address)
        found = identify(self.memory, root, self.symbols, address)
        if root is None:
            found = identify_stock(self.stock, found)
        return by_elf(found, self.kernel_symbols)

    def status(self) -> Status:
        """Where the guest is, what is wrong, what to do next."""
        try:
            root = self._root_unless_stock()
        except BareflowError:
            return self._settled(lambda: read_status(self.memory, None))
        if root is None:
            return self._settled(self.stock.status)
        return self._settled(lambda: read_status(self.memory, root))

    def slots(self) -> dict[str, Address]:
        """Where each function's published code pointer is kept, by the function's name."""
        root = self._root_unless_stock()
        if root is None:
            return self.stock.slots()
        return {function.name: function.slot for function in function_table(self.memory, root)}

    def provenance(self) -> Provenance:
        """How the last answer was found, how sure it is, and what it cannot tell."""
        return Provenance(tuple(self.stock.used), self.stock.unknown)

    def function(self, name_or_index: str | int) -> Function:
        """The function of that name or number; raises UsageError that lists what there is."""
        functions = self.functions()
        for function in functions:
            if name_or_index in (function.name, function.index, str(function.index)):
                return function
        known = ", ".join(function.name for function in functions) or "none yet"
        raise UsageError(f"no function {name_or_index!r} is registered; there are: {known}")

    def owners(self) -> Owners:
        """The names that block owners have."""
        return read_owners(self.memory, self.root())

    def _root_unless_stock(self) -> Root | None:
        """The root descriptor; None when the kernel is one without; raises BareflowError when it is neither."""
        self.stock.begin()
        try:
            return self.root()
        except BareflowError:
            if looks_stock(self.memory):
                return None
            raise

    def need_interface(self, instead: str) -> Root:
        """The root descriptor; of a kernel that has none by its nature the sentence tells what to do instead."""
        root = self._root_unless_stock()
        if root is None:
            raise BadData(f"this is a stock kernel, without the debug interface: {instead}")
        return root

    def _root_or_none(self) -> Root | None:
        try:
            return self.root()
        except BareflowError:
            return None

    def _settled(self, read: Callable[[], T]) -> T:
        return settled(self.memory, read)

    def _tsc_hz(self, root: Root | None) -> int:
        try:
            return read_counters(self.memory, root).tsc_hz if root and root.status else 0
        except BareflowError:
            return 0

    def _jit(self, root: Root, every: bool) -> Jit:
        problems: list[str] = []
        tables = read_tables(self.memory, root, problems, every)
        mailbox = None
        if root.mailbox:
            try:
                mailbox = read_mailbox(self.memory, root, tables.functions)
            except BadData as error:
                problems.append(str(error))
        return read_jit(self.memory, root, tables, mailbox, problems)

    def _swaps(self, root: Root, last: int | None, every: bool) -> Swaps:
        tables = read_tables(self.memory, root, [], every)
        told = list_swaps(tables, [])
        if root.version_causes and told.complete:
            return told
        events = events_.read_last(self.memory, root, 0, last, EVENTS)
        return list_swaps(tables, events)


def _cpu(memory: Memory) -> Cpu | None:
    """None where no registers come with the memory, as with a raw dump."""
    try:
        registers = memory.cpu()
    except BareflowError:
        return None
    return Cpu(protected=bool(registers.control["cr0"] & 1), esp=registers.general["esp"])
