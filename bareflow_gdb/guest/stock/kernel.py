"""What can be asked of a stock kernel? The same questions as of one with a debug interface, from what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.absent import NONE, Absent
from bareflow_gdb.guest.base.find import has_our_header
from bareflow_gdb.guest.base.loaded import kernel_base
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import Bitcode
from bareflow_gdb.guest.code.jit import Jit
from bareflow_gdb.guest.code.jit_code import JitCode, by_address, of_levels
from bareflow_gdb.guest.code.profiler import Profile, read_jit_profile, read_profile_at
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.modules.modules import Modules
from bareflow_gdb.guest.pools.pools import Block, Pools
from bareflow_gdb.guest.status import FunctionLine, PoolLine, Status, read_pool_lines
from bareflow_gdb.guest.stock.bitcode import find_bitcode
from bareflow_gdb.guest.stock.headers import header_of
from bareflow_gdb.guest.stock.jit import BY_DEFAULT, THRESHOLDS, Entries, Entry, read_entries, to_jit
from bareflow_gdb.guest.stock.modules import read_modules
from bareflow_gdb.guest.stock.places import Places
from bareflow_gdb.guest.stock.pools import read_pools
from bareflow_gdb.guest.stock.profile import differences, with_entries
from bareflow_gdb.guest.stock.records import Records
from bareflow_gdb.guest.stock.search import FAT16, JIT, JIT_PROFILE, MANAGER, POOLS
from bareflow_gdb.guest.stock.swaps import BY_DEFAULTS, COMPARED, UNKNOWN, list_swaps, tells_calls
from bareflow_gdb.guest.stock.window import Window
from bareflow_gdb.memory.protocol import Memory

if TYPE_CHECKING:
    from bareflow_gdb.guest.modules.header import HeaderReport
    from bareflow_gdb.guest.names.elf import KernelSymbols
    from bareflow_gdb.guest.names.identify import Identity


def looks_stock(memory: Memory) -> bool:
    """Is there a kernel, and is it none of this project, whose signature is followed by a jump over a header?

    A header of ours with a damaged root stays ours: what is wrong with it must be said.
    """
    return kernel_base(memory) is not None and not has_our_header(memory)


class StockKernel(Kernel):
    """A kernel without a root descriptor, whose records have to be found."""

    def __init__(
        self, memory: Memory, elf: Callable[[], KernelSymbols], places: Places, serial_log: Callable[[], str] | None
    ) -> None:
        """`serial_log` gives what was printed on COM1, where that is kept."""
        super().__init__(memory, elf)
        self.places = places
        self.records = Records(memory, places)
        self.found = self.records.found
        self.serial_log = serial_log

    def need_interface(self, instead: str) -> NoReturn:
        raise BadData(f"this is a stock kernel, without the debug interface: {instead}")

    def modules(self, check: bool = False) -> Modules:  # noqa: ARG002 - it has no SHA-256
        address = self.records.address(MANAGER)
        self.unknown = ("the tier and the source of each module: this kernel does not keep them",)
        return self._settled(lambda: read_modules(self.memory, address, self.places.generation()))

    def pools(self, kind: str | None = None, check: bool = False) -> Pools:  # noqa: ARG002 - always walked
        address = self.records.address(POOLS)
        self.unknown = ("owners of blocks that neither the adaptive JIT nor the module manager points to",)
        return self._settled(lambda: read_pools(self.memory, address, self.records.owners(), kind))

    def pool_blocks(self) -> list[tuple[str, Block]]:
        """Without a block table: the pools are walked."""
        return [(pool.kind, block) for pool in self.pools().pools for block in pool.blocks]

    def profile(self) -> Profile:
        return self._settled(self._profile)

    def _profile(self) -> Profile:
        jit = self.records.if_there(JIT)
        if jit is not None:
            entries = self.records.entries()
            profile = with_entries(read_profile_at(self.memory, jit, THRESHOLDS), entries)
            self.unknown = (BY_DEFAULT, *differences(self.memory, jit, entries))
            return profile
        try:
            return read_jit_profile(self.memory, self.records.address(JIT_PROFILE))
        except (BadData, ReadError):
            # A kernel that has modules will have an adaptive JIT: say that of it.
            if not self.places.has_only(JIT_PROFILE, JIT):
                return read_profile_at(self.memory, self.records.address(JIT), THRESHOLDS)
            raise

    def jit(self, every: bool = False) -> Jit:  # noqa: ARG002 - it keeps no versions
        self.unknown = ("versions, arguments, results and control words: this kernel does not keep them", BY_DEFAULT)
        entries = self._settled(self.records.entries)
        self.unknown += entries.notes
        return to_jit(entries)

    def swaps(self, last: int | None = None, every: bool = False) -> Swaps:  # noqa: ARG002 - nor events
        return self._settled(self._swaps)

    def _swaps(self) -> Swaps:
        entries = self.records.entries()
        sizes = self.records.code_sizes()
        log = self.serial_log() if self.serial_log is not None else None
        self.unknown = UNKNOWN if tells_calls(entries, log or "") else (*UNKNOWN, BY_DEFAULTS)
        if len(entries.entries) > COMPARED:
            self.unknown += (f"whether swaps changed any code, for functions after the first {COMPARED}",)
        self.unknown += entries.notes
        return list_swaps(self.memory, entries, sizes, log)

    def slots(self) -> dict[str, Address]:
        """Where each function's published code pointer is kept."""
        return {entry.name: entry.slot for entry in self.records.entries().entries}

    def jit_code(self, every: bool = False) -> tuple[JitCode, ...]:  # noqa: ARG002 - it keeps no versions
        jit, sizes = self.jit(), self.records.own_code()
        return by_address((*of_levels(jit.functions, sizes), *_from_host(self.records.entries())))

    def identify(self, address: int) -> Identity:
        from bareflow_gdb.guest.names.identify import identify
        from bareflow_gdb.guest.stock.identify import identify_stock

        return identify_stock(self.records, identify(self.memory, None, address), self.elf)

    def header(self, wanted: str | int, check: bool = False) -> HeaderReport:
        """As of any kernel; of a module whose header stands apart from its code that record, with a note."""
        from bareflow_gdb.guest.modules.header import read_header, read_header_apart

        modules = self._modules_if_there(wanted)
        module = next((one for one in modules.modules if one.name == wanted), None) if modules is not None else None
        if module is None or module.image:
            return read_header(self.memory, modules, wanted, check)
        place = header_of(Window(self.memory, self.places.progress), module.name, module.code)
        if place is None:
            what = f"header of {module.name}"
            raise Absent(what, NONE, "none stands before its code, and memory holds no other record of that name")
        self.unknown = (
            f"whether this header is that of the code that runs at 0x{module.code:08x}: it stands apart from it",
        )
        return read_header_apart(self.memory, module, place)

    def _modules_if_there(self, wanted: str | int) -> Modules | None:
        try:
            return self.modules()
        except BadData:
            # An address can be looked at without them; a name cannot.
            if isinstance(wanted, str):
                raise
            return None

    def module_table(self) -> tuple[Address, int]:
        # Found first: by it the generation is known.
        address = self.records.address(MANAGER)
        return address, self.places.generation().profile_bytes

    def pool_table(self) -> Address:
        return self.records.address(POOLS)

    def _fat16(self) -> Address:
        return self.records.if_there(FAT16) or Address(0)

    def status(self) -> Status:
        """Raises BadData when there is no kernel in memory; what it has not filled yet is not a problem."""
        return self._settled(self._status)

    def _status(self) -> Status:
        if kernel_base(self.memory) is None:
            raise BadData("there is no kernel in memory; `boot` shows how far the boot got")
        manager, jit = self.records.if_there(MANAGER), self.records.if_there(JIT)
        profile = self.records.if_there(JIT_PROFILE) if manager is None and jit is None else None
        pools = self._pool_lines()
        entries = read_entries(self.memory, jit) if jit is not None else Entries(False, 0, (), ())
        functions = tuple(_line(entry) for entry in entries.entries)
        # Calls may be counted under an id that got lost; a level above O0 was not reached without any.
        running = any(entry.calls or entry.level for entry in entries.entries)
        stage = "loaded"
        reached = {"pools": pools, "modules": manager, "registered": jit, "running": profile or running}
        for name, there in reached.items():
            stage = name if there else stage
        halted = self.places.halted()
        self.unknown = (
            "the stage is read off from what is in memory: this kernel keeps no boot record",
            "exceptions: this kernel prints them on the screen only",
            *((BY_DEFAULT,) if jit is not None else ()),
            *(("whether it has halted: there are no registers to tell",) if halted is None else ()),
            *entries.notes,
        )
        problems = (*entries.problems, *self.places.doubts)
        return Status(
            stage=stage,
            halted=halted,
            ok=not problems,
            variant="stock unikernel" if profile is not None else "stock kernel",
            thresholds=THRESHOLDS if jit is not None else None,
            swap_count=entries.swap_count if jit is not None else None,
            version_count=entries.version_count if jit is not None else None,
            counted_by="levels",
            functions=functions,
            publishing=entries.publishing,
            pools=pools,
            problems=problems,
            next_step=_next_step(jit, profile, manager, halted),
        )

    def bitcode(self, function: str | None = None) -> tuple[Bitcode, ...]:
        """What the image carries; the kernel keeps no table of it."""
        found = find_bitcode(Window(self.memory, self.places.progress))
        return tuple(one for one in found if function in (None, one.function))

    def _pool_lines(self) -> tuple[PoolLine, ...]:
        address = self.records.if_there(POOLS)
        return read_pool_lines(self.memory, address) if address is not None else ()


def _line(entry: Entry) -> FunctionLine:
    host = entry.host_code
    return FunctionLine(entry.name, entry.running_level, version=None if host is None else host.number)


def _from_host(entries: Entries) -> Iterator[JitCode]:
    for entry in entries.entries:
        for one in entry.installed:
            published = one.entry == entry.current_code
            yield JitCode(
                *(entry.name, one.level, one.number, one.code, one.code_size, one.entry, entry.slot, published, 0)
            )


def _next_step(jit: Address | None, profile: Address | None, manager: Address | None, halted: bool | None) -> str:
    if profile is not None:
        return "`profile` shows what its functions cost"
    if jit is not None:
        return "`jit` shows the functions, `swaps` how they came to their tiers"
    shown = "`modules` shows what is loaded" if manager is not None else ""
    if halted:
        # Nothing more comes, so there is nothing to wait for.
        return f"{shown}; " * bool(shown) + "it has halted for good: `stack` shows where, `screen` what it said last"
    if manager is not None:
        return f"{shown}; let it run on if functions are to be registered"
    return "let the guest run on: it has not filled its tables yet"
