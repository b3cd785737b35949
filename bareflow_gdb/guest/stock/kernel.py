"""What can be asked of a stock kernel? The same questions as of one with a debug interface, from what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import Bitcode
from bareflow_gdb.guest.code.jit import Jit
from bareflow_gdb.guest.code.jit_code import JitCode, of_levels
from bareflow_gdb.guest.code.profiler import Profile, read_jit_profile, read_profile_at
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.modules.modules import Modules
from bareflow_gdb.guest.pools.pools import Block, Pools
from bareflow_gdb.guest.status import FunctionLine, PoolLine, Status, read_pool_lines
from bareflow_gdb.guest.stock.bitcode import find_bitcode
from bareflow_gdb.guest.stock.jit import THRESHOLDS, Entries, read_entries, to_jit
from bareflow_gdb.guest.stock.modules import module_names, read_modules
from bareflow_gdb.guest.stock.places import Places
from bareflow_gdb.guest.stock.pools import read_pools
from bareflow_gdb.guest.stock.records import Records
from bareflow_gdb.guest.stock.search import FAT16, JIT, JIT_PROFILE, MANAGER, POOLS
from bareflow_gdb.guest.stock.swaps import BY_DEFAULTS, COMPARED, UNKNOWN, list_swaps
from bareflow_gdb.guest.stock.window import START, Window, kernel_is_loaded
from bareflow_gdb.memory.protocol import Memory

if TYPE_CHECKING:
    from bareflow_gdb.guest.names.elf import KernelSymbols
    from bareflow_gdb.guest.names.identify import Identity

_SHORT_JUMP = 0xEB


def looks_stock(memory: Memory) -> bool:
    """Is there a kernel, and is it none of this project, whose signature is followed by a jump over a header?

    One packet. A header of ours with a damaged root stays ours: what is wrong with it must be said.
    """
    try:
        data = memory.read(START, layouts.size("bf_image_header"), "image header")
    except ReadError:
        return False
    header = layouts.unpack("bf_image_header", data)
    if header.magic != layouts.const("BF_FLUD_MAGIC"):
        return False
    limit = layouts.const("BF_IMAGE_LIMIT")
    ours = header.jump[0] == _SHORT_JUMP and START <= header.root < limit and header.image_bytes <= limit - START
    return not ours


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
            return read_profile_at(self.memory, jit, THRESHOLDS)
        try:
            return read_jit_profile(self.memory, self.records.address(JIT_PROFILE))
        except (BadData, ReadError):
            # A kernel that has modules will have an adaptive JIT: say that of it.
            return read_profile_at(self.memory, self.records.address(JIT), THRESHOLDS)

    def jit(self, every: bool = False) -> Jit:  # noqa: ARG002 - it keeps no versions
        self.unknown = (
            "versions, arguments, results and control words: this kernel does not keep them",
            "the thresholds are the default ones: they are not in this kernel's data",
        )
        return self._settled(lambda: to_jit(self.records.entries()))

    def swaps(self, last: int | None = None, every: bool = False) -> Swaps:  # noqa: ARG002 - nor events
        return self._settled(self._swaps)

    def _swaps(self) -> Swaps:
        entries = self.records.entries()
        manager = self.records.if_there(MANAGER)
        modules = [] if manager is None else module_names(self.memory, manager, self.places.generation())
        log = self.serial_log() if self.serial_log is not None else None
        self.unknown = UNKNOWN if log else (*UNKNOWN, BY_DEFAULTS)
        if len(entries.entries) > COMPARED:
            self.unknown += (f"whether swaps changed any code, for functions after the first {COMPARED}",)
        return list_swaps(self.memory, entries, {code: size for _, code, size in modules}, log)

    def slots(self) -> dict[str, Address]:
        """Where each function's published code pointer is kept."""
        return {entry.name: entry.slot for entry in self.records.entries().entries}

    def jit_code(self, every: bool = False) -> tuple[JitCode, ...]:  # noqa: ARG002 - it keeps no versions
        return of_levels(self.jit().functions, self.records.code_sizes())

    def identify(self, address: int) -> Identity:
        from bareflow_gdb.guest.names.identify import by_elf, identify
        from bareflow_gdb.guest.stock.identify import identify_stock

        return by_elf(identify_stock(self.records, identify(self.memory, None, address)), self.elf)

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
        if not kernel_is_loaded(self.memory):
            raise BadData("there is no kernel at 0x10000; `boot` shows how far the boot got")
        problems: list[str] = []
        manager, jit = self.records.if_there(MANAGER), self.records.if_there(JIT)
        profile = self.records.if_there(JIT_PROFILE) if manager is None and jit is None else None
        pools = self._pool_lines()
        entries = read_entries(self.memory, jit) if jit is not None else Entries(False, 0, (), ())
        problems += entries.problems
        functions = tuple(FunctionLine(entry.name, entry.level) for entry in entries.entries)
        running = any(entry.calls for entry in entries.entries)
        stage = "loaded"
        reached = {"pools": pools, "modules": manager, "registered": jit, "running": profile or running}
        for name, there in reached.items():
            stage = name if there else stage
        self.unknown = (
            "the stage is read off from what is in memory: this kernel keeps no boot record",
            "exceptions: this kernel prints them on the screen only",
        )
        problems += self.places.doubts
        return Status(
            stage=stage,
            ok=not problems,
            variant="stock unikernel" if profile is not None else "stock kernel",
            thresholds=THRESHOLDS if jit is not None else None,
            swap_count=entries.swap_count,
            version_count=entries.version_count,
            functions=functions,
            pools=pools,
            problems=tuple(problems),
            next_step=_next_step(jit, profile, manager),
        )

    def bitcode(self, function: str | None = None) -> tuple[Bitcode, ...]:
        """What the image carries; the kernel keeps no table of it."""
        found = find_bitcode(Window(self.memory, self.places.progress))
        return tuple(one for one in found if function in (None, one.function))

    def _pool_lines(self) -> tuple[PoolLine, ...]:
        address = self.records.if_there(POOLS)
        return read_pool_lines(self.memory, address) if address is not None else ()


def _next_step(jit: Address | None, profile: Address | None, manager: Address | None) -> str:
    if profile is not None:
        return "`profile` shows what its functions cost"
    if jit is not None:
        return "`jit` shows the functions, `swaps` how they came to their tiers"
    if manager is not None:
        return "`modules` shows what is loaded; let it run on until functions are registered"
    return "let the guest run on: it has not filled its tables yet"
