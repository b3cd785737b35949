"""What can be asked of a stock kernel? The same questions as of one with a debug interface, from what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.answer import Finding
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import Bitcode
from bareflow_gdb.guest.code.jit import Jit
from bareflow_gdb.guest.code.jit_code import JitCode, of_levels
from bareflow_gdb.guest.code.profiler import Profile, read_jit_profile, read_profile_at
from bareflow_gdb.guest.code.swaps import Swaps
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.modules.modules import Modules
from bareflow_gdb.guest.pools.pools import KINDS, Block, Pools
from bareflow_gdb.guest.status import FunctionLine, PoolLine, Status
from bareflow_gdb.guest.stock import search
from bareflow_gdb.guest.stock.bitcode import find_bitcode
from bareflow_gdb.guest.stock.jit import THRESHOLDS, Entries, read_entries, swapped_levels, to_jit
from bareflow_gdb.guest.stock.modules import module_names, read_modules
from bareflow_gdb.guest.stock.places import Places
from bareflow_gdb.guest.stock.pools import Owner, read_pools
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
        self.serial_log = serial_log

    def need_interface(self, instead: str) -> NoReturn:
        raise BadData(f"this is a stock kernel, without the debug interface: {instead}")

    def address(self, kind: str) -> Address:
        """Where a record is; raises BadData with one sentence when it is not there (yet)."""
        finding = self.places.find(kind)
        if finding not in self.found:
            self.found.append(finding)
        return finding.address

    def all_known(self) -> list[Finding]:
        """Every record that was found and still is there; when there is none they are searched for."""
        for kind in [finding.what for finding in self.places.known()] or search.KINDS:
            self._if_there(kind)
        return list(self.places.known())

    def _if_there(self, kind: str) -> Address | None:
        try:
            return self.address(kind)
        except BadData:
            return None

    def modules(self, check: bool = False) -> Modules:  # noqa: ARG002 - it has no SHA-256
        address = self.address(MANAGER)
        self.unknown = ("the tier and the source of each module: this kernel does not keep them",)
        return self._settled(lambda: read_modules(self.memory, address, self.places.generation()))

    def pools(self, kind: str | None = None, check: bool = False) -> Pools:  # noqa: ARG002 - always walked
        address = self.address(POOLS)
        self.unknown = ("owners of blocks that neither the adaptive JIT nor the module manager points to",)
        return self._settled(lambda: read_pools(self.memory, address, self._owners(), kind))

    def pool_blocks(self) -> list[tuple[str, Block]]:
        """Without a block table: the pools are walked."""
        return [(pool.kind, block) for pool in self.pools().pools for block in pool.blocks]

    def profile(self) -> Profile:
        return self._settled(self._profile)

    def _profile(self) -> Profile:
        jit = self._if_there(JIT)
        if jit is not None:
            return read_profile_at(self.memory, jit, THRESHOLDS)
        try:
            return read_jit_profile(self.memory, self.address(JIT_PROFILE))
        except BadData:
            # A kernel that has modules will have an adaptive JIT: say that of it.
            return read_profile_at(self.memory, self.address(JIT), THRESHOLDS)

    def jit(self, every: bool = False) -> Jit:  # noqa: ARG002 - it keeps no versions
        self.unknown = (
            "versions, arguments, results and control words: this kernel does not keep them",
            "the thresholds are the default ones: they are not in this kernel's data",
        )
        return self._settled(lambda: to_jit(self._entries()))

    def swaps(self, last: int | None = None, every: bool = False) -> Swaps:  # noqa: ARG002 - nor events
        return self._settled(self._swaps)

    def _swaps(self) -> Swaps:
        entries = self._entries()
        manager = self._if_there(MANAGER)
        modules = [] if manager is None else module_names(self.memory, manager, self.places.generation())
        log = self.serial_log() if self.serial_log is not None else None
        self.unknown = UNKNOWN if log else (*UNKNOWN, BY_DEFAULTS)
        if len(entries.entries) > COMPARED:
            self.unknown += (f"whether swaps changed any code, for functions after the first {COMPARED}",)
        return list_swaps(self.memory, entries, {code: size for _, code, size in modules}, log)

    def slots(self) -> dict[str, Address]:
        """Where each function's published code pointer is kept."""
        return {entry.name: entry.slot for entry in self._entries().entries}

    def jit_code(self, every: bool = False) -> tuple[JitCode, ...]:  # noqa: ARG002 - it keeps no versions
        return of_levels(self.jit().functions, self.code_sizes())

    def identify(self, address: int) -> Identity:
        from bareflow_gdb.guest.names.identify import by_elf, identify
        from bareflow_gdb.guest.stock.identify import identify_stock

        return by_elf(identify_stock(self, identify(self.memory, None, address)), self.elf)

    def module_table(self) -> tuple[Address, int]:
        # Found first: by it the generation is known.
        address = self.address(MANAGER)
        return address, self.places.generation().profile_bytes

    def pool_table(self) -> Address:
        return self.address(POOLS)

    def _fat16(self) -> Address:
        return self._if_there(FAT16) or Address(0)

    def code_sizes(self) -> dict[Address, int]:
        """Bytes of each level's code by its address, as far as the records tell."""
        return _code_sizes(self.memory, self._entries(), self._if_there(MANAGER), self.places)

    def status(self) -> Status:
        """Raises BadData when there is no kernel in memory; what it has not filled yet is not a problem."""
        return self._settled(self._status)

    def _status(self) -> Status:
        if not kernel_is_loaded(self.memory):
            raise BadData("there is no kernel at 0x10000; `boot` shows how far the boot got")
        problems: list[str] = []
        manager, jit = self._if_there(MANAGER), self._if_there(JIT)
        profile = self._if_there(JIT_PROFILE) if manager is None and jit is None else None
        pools = self._pool_lines()
        entries = read_entries(self.memory, jit) if jit is not None else Entries(False, 0, (), ())
        problems += entries.problems
        functions = [FunctionLine(entry.name, entry.level, None, None, None) for entry in entries.entries]
        running = any(entry.calls for entry in entries.entries)
        stage = "loaded"
        for there, name in (
            (pools, "pools"),
            (manager, "modules"),
            (jit, "registered"),
            (profile or running, "running"),
        ):
            stage = name if there else stage
        self.unknown = (
            "the stage is read off from what is in memory: this kernel keeps no boot record",
            "exceptions: this kernel prints them on the screen only",
        )
        problems += self.places.doubts
        return Status(
            stage=stage,
            ok=not problems,
            abi="",
            variant="stock unikernel" if profile is not None else "stock kernel",
            build_id="",
            held=False,
            thresholds=THRESHOLDS if jit is not None else None,
            swap_count=sum(len(swapped_levels(entry)) for entry in entries.entries),
            version_count=sum(code != 0 for entry in entries.entries for code in entry.codes),
            functions=tuple(functions),
            pools=pools,
            rings=(),
            mail=(),
            exception="",
            exception_eip=Address(0),
            problems=tuple(problems),
            next_step=_next_step(jit, profile, manager),
        )

    def bitcode(self, function: str | None = None) -> tuple[Bitcode, ...]:
        """What the image carries; the kernel keeps no table of it."""
        found = find_bitcode(Window(self.memory, self.places.progress))
        return tuple(one for one in found if function in (None, one.function))

    def _entries(self) -> Entries:
        return read_entries(self.memory, self.address(JIT))

    def _pool_lines(self) -> tuple[PoolLine, ...]:
        address = self._if_there(POOLS)
        if address is None:
            return ()
        raws = many(self.memory, "memory_pool", address, len(KINDS), "pools")
        return tuple(PoolLine(kind, raw.stats.used, raw.total_size) for kind, raw in zip(KINDS, raws, strict=True))

    def _owners(self) -> dict[int, Owner]:
        """Who points into a pool: what is not there (yet) gives no name."""
        owners: dict[int, Owner] = {}
        manager, jit = self._if_there(MANAGER), self._if_there(JIT)
        if manager is not None:
            for index, (name, code, _) in enumerate(module_names(self.memory, manager, self.places.generation())):
                owners[code] = Owner("module", index, f"module {name}")
        if jit is not None:
            for entry in read_entries(self.memory, jit).entries:
                for at, text in (
                    (entry.name_at, "name"),
                    (entry.module_name_at, "module name"),
                    (entry.buffer, "code"),
                ):
                    if at:
                        owners[at] = Owner("function", entry.index, f"{entry.name}, {text}")
        return owners


def _next_step(jit: Address | None, profile: Address | None, manager: Address | None) -> str:
    if profile is not None:
        return "`profile` shows what its functions cost"
    if jit is not None:
        return "`jit` shows the functions, `swaps` how they came to their levels"
    if manager is not None:
        return "`modules` shows what is loaded; let it run on until functions are registered"
    return "let the guest run on: it has not filled its tables yet"


def known_code(memory: Memory, places: Places) -> dict[Address, int]:
    """`code_sizes` of records that were found before: nothing is searched, and the CPU is not asked."""
    found = {finding.what: finding.address for finding in places.known()}
    if JIT not in found:
        return {}
    return _code_sizes(memory, read_entries(memory, found[JIT]), found.get(MANAGER), places)


def _code_sizes(memory: Memory, entries: Entries, manager: Address | None, places: Places) -> dict[Address, int]:
    modules = [] if manager is None else module_names(memory, manager, places.generation())
    sizes = {code: size for _, code, size in modules}
    for entry in entries.entries:
        sizes |= {code: entry.code_size(level) or sizes.get(code, 0) for level, code in enumerate(entry.codes)}
    return {code: size for code, size in sizes.items() if code and size}
