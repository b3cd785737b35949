"""How do kernels with the debug interface answer, and what can be said when no kernel is there?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.base.absent import NOT_YET, need
from bareflow_gdb.guest.base.reading import optional
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.kernel import Kernel

if TYPE_CHECKING:
    from bareflow_gdb.guest.boot.boot import Boot
    from bareflow_gdb.guest.code.being_published import Publishing
    from bareflow_gdb.guest.code.bitcode import Bitcode
    from bareflow_gdb.guest.code.jit import Jit
    from bareflow_gdb.guest.code.jit_code import JitCode
    from bareflow_gdb.guest.code.profiler import Profile
    from bareflow_gdb.guest.code.swaps import Swaps
    from bareflow_gdb.guest.modules.modules import Modules
    from bareflow_gdb.guest.names.elf import KernelSymbols
    from bareflow_gdb.guest.names.identify import Identity
    from bareflow_gdb.guest.pools.pools import Block, Pools
    from bareflow_gdb.guest.status import Status
    from bareflow_gdb.memory.paging import Linear
    from bareflow_gdb.memory.protocol import Memory


class OwnKernel(Kernel):
    """A kernel whose root descriptor leads to everything else."""

    root: Root

    def __init__(self, memory: Memory, elf: Callable[[], KernelSymbols], root: Root) -> None:
        super().__init__(memory, elf)
        self.root = root

    def need_interface(self, instead: str) -> Root:  # noqa: ARG002 - the protocol's signature
        return self.root

    def status(self) -> Status:
        from bareflow_gdb.guest.status import read_status

        def read() -> Status:
            status = read_status(self.memory, self.root)
            # Where reads cost packets an idle guest with an empty mailbox is not looked at more closely.
            quiet = self.memory.packets and status.stage == "idle" and not status.mail
            if quiet or not status.functions:
                return status
            return replace(status, publishing=optional(self._publishing, []) or ())

        return self._settled(read)

    def _publishing(self) -> tuple[Publishing, ...]:
        """The swaps that are under way; 1 packet when there is none."""
        from bareflow_gdb.guest.code.publishing import unrecorded

        return self._jit(every=False).publishing if unrecorded(self.memory, self.root, self.functions()) else ()

    def modules(self, check: bool = False) -> Modules:
        from bareflow_gdb.guest.modules.modules import read_modules

        return self._settled(lambda: read_modules(self.memory, self.root, check))

    def pools(self, kind: str | None = None, check: bool = False) -> Pools:
        from bareflow_gdb.guest.model.places import has_model, model_memory
        from bareflow_gdb.guest.pools.owners import read_owners
        from bareflow_gdb.guest.pools.pools import read_pools

        owners = read_owners(self.memory, self.root)
        pools = self._settled(lambda: read_pools(self.memory, self.root, owners, kind, check))
        if not has_model(self.memory, self.root):
            return pools
        if self.memory.packets:
            self.unknown = ("what a language model has of RAM, which costs packets; `inference --tensors` tells it",)
            return pools
        return replace(pools, model=model_memory(self.memory))

    def pool_blocks(self) -> list[tuple[str, Block]]:
        from bareflow_gdb.guest.pools.owners import read_owners
        from bareflow_gdb.guest.pools.pools import read_blocks

        return read_blocks(self.memory, self.root, read_owners(self.memory, self.root))

    def profile(self) -> Profile:
        from bareflow_gdb.guest.code.profiler import read_profile

        return self._settled(lambda: read_profile(self.memory, self.root))

    def jit(self, every: bool = False) -> Jit:
        return self._settled(lambda: self._jit(every))

    def _jit(self, every: bool) -> Jit:
        from bareflow_gdb.guest.code.functions import read_tables
        from bareflow_gdb.guest.code.jit import read_jit
        from bareflow_gdb.guest.code.mailbox import read_mailbox

        problems: list[str] = []
        tables = read_tables(self.memory, self.root, problems, every)
        problems += tables.missing
        mailbox = None
        if self.root.mailbox:
            told: list[str] = []
            mailbox = optional(lambda: read_mailbox(self.memory, self.root, tables.functions), told)
            if told and self._is_before_pools():
                self.unknown = (f"no mailbox is {NOT_YET}: the JIT is not up",)
            else:
                problems += told
        return read_jit(self.memory, self.root, tables, mailbox, problems)

    def _is_before_pools(self) -> bool:
        """Has the kernel not come to where its JIT is up? Then it is right that nothing of it is there."""
        from bareflow_gdb.guest.boot.boot import stage_of

        return 0 < stage_of(self.memory) < layouts.const("BF_STAGE_POOLS")

    def swaps(self, last: int | None = None, every: bool = False) -> Swaps:
        return self._settled(lambda: self._swaps(last, every))

    def _swaps(self, last: int | None, every: bool) -> Swaps:
        from bareflow_gdb.guest.code.costs import COSTS_PACKETS, read_costs
        from bareflow_gdb.guest.code.events import read_last
        from bareflow_gdb.guest.code.functions import read_tables
        from bareflow_gdb.guest.code.mailbox import control_of, read_mailbox
        from bareflow_gdb.guest.code.swaps import EVENTS, list_swaps

        tables = read_tables(self.memory, self.root, [], every)
        costs = None
        no_worth = [COSTS_PACKETS] if self.memory.packets and not every else []
        if not no_worth:
            costs = optional(lambda: read_costs(self.memory, self.root, tables), no_worth)
        worth = (costs, "".join(no_worth[:1]))
        told = list_swaps(tables, [], *worth)
        missing = list(tables.missing)
        if missing or not (self.root.version_causes and told.complete):
            events = optional(lambda: read_last(self.memory, self.root, 0, last, EVENTS), missing)
            told = list_swaps(tables, events or [], *worth)
        self.unknown = tuple(missing)
        if self.root.mailbox and not tables.unread:
            box = optional(lambda: read_mailbox(self.memory, self.root, tables.functions), [])
            under_way, vetoed = control_of(box, tables.functions)
            told = replace(told, under_way=under_way, vetoed=vetoed)
        # Where reads cost packets only code that waits to be published is a reason to look.
        if self.memory.packets and not any(version.state == "emitted" for version in tables.versions):
            return told
        return replace(told, publishing=optional(self._publishing, []) or ())

    def bitcode(self, function: str | None = None) -> tuple[Bitcode, ...]:
        from bareflow_gdb.guest.code.bitcode import read_bitcode

        wanted = (item for item in self.functions() if function in (None, item.name))
        return tuple(read_bitcode(self.memory, item) for item in wanted)

    def slots(self) -> dict[str, Address]:
        return {function.name: function.slot for function in self.functions()}

    def jit_code(self, every: bool = False) -> tuple[JitCode, ...]:
        from bareflow_gdb.guest.code.functions import read_tables
        from bareflow_gdb.guest.code.jit_code import of_versions
        from bareflow_gdb.guest.code.publishing import current_codes

        tables = read_tables(self.memory, self.root, [], every, causes=False)
        versions = tables.needed()
        return of_versions(tables.functions, versions, current_codes(self.memory, tables.functions))

    def module_table(self) -> tuple[Address, int]:
        return Address(need(self.root, "module_manager", "modules")), layouts.size("module_profile")

    def pool_table(self) -> Address:
        return Address(need(self.root, "pools", "pools"))

    def _fat16(self) -> Address:
        return self.root.fat16


class LibraryKernel(OwnKernel):
    """An application on our kernel library: it has the tables that its root descriptor leads to."""

    def profile(self) -> Profile:
        """What its adaptive JIT counted at every call; of an application without, what it counted itself."""
        from bareflow_gdb.guest.code.profiler import read_jit_profile

        if self.root.function_profiler or not self.root.jit_profile:
            return super().profile()
        return self._settled(lambda: read_jit_profile(self.memory, self.root.jit_profile))


class NoKernel(Kernel):
    """No kernel that can be asked: none is loaded yet, or its root descriptor is damaged."""

    def __init__(self, memory: Memory, elf: Callable[[], KernelSymbols], reason: BareflowError) -> None:
        """`reason` says why, and what to do; every question for a table raises it."""
        super().__init__(memory, elf)
        self.reason = reason

    def need_interface(self, instead: str) -> NoReturn:  # noqa: ARG002 - the protocol's signature
        raise self.reason

    def boot(self) -> Boot:
        from bareflow_gdb.guest.machine.cpu import at_reset

        try:
            return super().boot()
        except BadData:
            if at_reset(self.memory):
                raise BadData("there is no boot record: the guest has not begun; let it run") from None
            raise

    def status(self) -> Status:
        """Also of a kernel that is none of ours: the CPU's mode says that."""
        from bareflow_gdb.guest.machine.cpu import at_reset, foreign_mode
        from bareflow_gdb.guest.status import read_status

        record = self._settled(lambda: read_status(self.memory, None))
        if at_reset(self.memory):
            # Nothing has run, so that nothing can be wrong with it.
            return replace(record, stage="reset", ok=True, problems=(), next_step="let the guest run: it has not begun")
        mode = foreign_mode(self.memory)
        return replace(record, ok=False, problems=(*record.problems, mode)) if mode else record

    def at_code(self, address: int) -> tuple[Memory, str]:
        from bareflow_gdb.guest.machine.cpu import foreign_mode

        paged = self._paged()
        if paged is None:
            # Code of 64-bit mode at a low address, which is decoded as if it were of 32 bits.
            return self.memory, foreign_mode(self.memory)
        physical = paged.physical(address)
        if physical is None and not any(start <= address < end for start, end in self.memory.ranges):
            raise BadData(f"paging is on, and no page is at 0x{address:08x}; `cpu` shows where the CPU is")
        if physical is None:
            return self.memory, f"paging is on, and no page is at 0x{address:08x}: taken for a physical address"
        return paged, f"paging is on: 0x{address:08x} is linear, 0x{physical:08x} physical"

    def identify(self, address: int) -> Identity:
        paged = self._paged()
        physical = paged.physical(address) if paged is not None else None
        found = super().identify(address if physical is None else physical)
        detail = "; ".join(filter(None, (self.at_code(address)[1], found.detail)))
        return replace(found, address=Address(address), detail=detail)

    def _paged(self) -> Linear | None:
        """The page tables of whatever runs here; None when paging is off, or the registers are not known."""
        from bareflow_gdb.memory.paging import Linear, is_paged

        try:
            registers = self.memory.cpu()
        except BareflowError:
            return None
        return Linear(self.memory, registers) if is_paged(registers) else None

    def _nothing(self, *_: object, **__: object) -> NoReturn:
        raise self.reason

    modules = pools = pool_blocks = profile = jit = swaps = bitcode = slots = jit_code = _nothing
    module_table = pool_table = _nothing

    def _fat16(self) -> Address:
        return Address(0)
