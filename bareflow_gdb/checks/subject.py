"""What can checks look at: a kernel in memory, the CPU, what was printed, QEMU, a trace?

Each is read once, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.guest.code.log_lines import FIRST_LINE, boots

if TYPE_CHECKING:
    from bareflow_gdb.guest.base.clock import Counters
    from bareflow_gdb.guest.boot.boot import Boot
    from bareflow_gdb.guest.boot.watch import Watched
    from bareflow_gdb.guest.code.cache import Cache
    from bareflow_gdb.guest.code.events import Event, Ring
    from bareflow_gdb.guest.code.functions import Function, Version
    from bareflow_gdb.guest.code.jit import Jit
    from bareflow_gdb.guest.code.profiler import Profile
    from bareflow_gdb.guest.code.walked import Walked, Walker
    from bareflow_gdb.guest.kernel import Kernel
    from bareflow_gdb.guest.machine.exception import ExceptionRecord
    from bareflow_gdb.guest.modules.modules import Modules
    from bareflow_gdb.guest.pools.pools import Block
    from bareflow_gdb.guest.stock.kernel import StockKernel
    from bareflow_gdb.memory.cpu import CpuRegisters
    from bareflow_gdb.qemu.machine import Machine

MEMORY, KERNEL, ROOT, KERNEL_UP, REGISTERS = "memory", "kernel", "root", "kernel in protected mode", "registers"
SERIAL, MACHINE, TRACE, STOCK, LOADED = "serial log", "machine", "trace", "stock kernel", "a load"
WATCHED = "a start that was watched"
OUTPUT = "screen or serial log"
DISK = "module disk"

_END_CHARACTERS = 200

NO_DISK = "[DISK] No disk"
"""The kernel prints it."""
CORE = 9
"""BF_STAGE_CORE: from then on the kernel has its own stack."""


class Subject:
    """One guest at one moment. What cannot be read raises BareflowError, whenever it is asked for."""

    def __init__(
        self,
        kernel: Callable[[], Kernel],
        *,
        machine: Machine | None = None,
        serial: Callable[[], str] | None = None,
        trace: Any = None,
        watched: Watched | None = None,
        disk: Path | None = None,
    ) -> None:
        """`kernel` gives the kernel in memory; `serial` what was printed on COM1, where that is kept outside.

        watched: how its start went, when somebody looked on. disk: the image of a module disk, when no guest is asked.
        """
        self._kernel = kernel
        self._serial = serial
        self.machine = machine
        self.trace = trace
        self.watched = watched
        self._disk = disk
        self._walker: Walker | None = None

    def again(self) -> Subject:
        """The same guest a moment later."""
        later = Subject(
            self._kernel,
            machine=self.machine,
            serial=self._serial,
            trace=self.trace,
            watched=self.watched,
            disk=self._disk,
        )
        later._walker = self._walker
        return later

    def lacks(self, need: str) -> str:
        """Why this cannot be had here; "" = it can."""
        from bareflow_gdb.guest.own import NoKernel
        from bareflow_gdb.memory.kernel_file import KernelFile

        try:
            if need == ROOT:
                return "" if self.kernel.root is not None else "this kernel has no root descriptor"
            if need == KERNEL_UP:
                return "" if self.is_up else "this is a stock kernel" if self.stock else "the kernel is not up"
            if need == REGISTERS:
                return "" if self.registers else "no registers"
            if need == SERIAL:
                return "" if self.printed is not None else "what it printed is not known"
            if need == OUTPUT:
                known = self.shown is not None or self.printed is not None
                return "" if known else "neither the screen nor what it printed on COM1 is known"
            if need == KERNEL:
                # Without one every table is refused for the same reason.
                return str(self.kernel.reason) if isinstance(self.kernel, NoKernel) else ""
            if need == STOCK:
                return "" if self.stock is not None else "this is not a stock kernel"
            if need == DISK:
                return "" if self.disk else "it has no second disk"
            if need == LOADED:
                return "nothing was loaded: this is its file" if isinstance(self.kernel.memory, KernelFile) else ""
            if need == MACHINE:
                return "" if self.machine is not None else "this is not a machine of `bareflow run`"
            if need == WATCHED:
                return "" if self.watched is not None else "nobody watched its start: `diagnose IMAGE` does"
            if need == TRACE:
                return "" if self.trace is not None else "this is not a trace"
            return "" if self.kernel else "no memory"
        except BareflowError as error:
            return str(error)

    @cached_property
    def disk(self) -> Path:
        """The image of the module disk: of the one that is asked, or by QEMU of a machine with a kernel in it."""
        from bareflow_gdb.qemu.disk import image_path

        if self._disk is not None:
            return self._disk
        for need in (KERNEL, MACHINE):
            if lacking := self.lacks(need):
                raise Unreachable(lacking)
        return image_path(self.kernel.memory)

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel in memory."""
        return self._kernel()

    @property
    def stock(self) -> StockKernel | None:
        """The kernel in memory when it is one without a root descriptor."""
        from bareflow_gdb.guest.stock.kernel import StockKernel

        return self.kernel if isinstance(self.kernel, StockKernel) else None

    @property
    def reads_cost(self) -> bool:
        """Does each read of memory take a packet?"""
        try:
            return self.kernel.reads_cost
        except BareflowError:
            return False

    @property
    def asking_stops(self) -> bool:
        """Would asking for registers stop a guest that runs?"""
        try:
            return self.kernel.memory.asking_stops
        except BareflowError:
            return False

    @property
    def live(self) -> bool:
        """May the guest move while it is looked at?"""
        try:
            return self.kernel.memory.live
        except BareflowError:
            return False

    @cached_property
    def implausible(self) -> list[str]:
        """What cannot be in the kernel's tables."""
        from bareflow_gdb.guest.base.plausible import implausible

        root = self.kernel.root
        return [] if root is None else implausible(self.kernel.memory, root)

    @cached_property
    def is_up(self) -> bool:
        """Does one of our kernels run, in protected mode?"""
        is_protected = bool(self.registers.control["cr0"] & 1)
        return self.kernel.root is not None and is_protected and self.boot.stage_number >= CORE

    @property
    def runs(self) -> bool:
        """Does the machine run, for sure?"""
        from bareflow_gdb.guest.boot.stopped import runs

        try:
            return runs(self.kernel.memory)
        except BareflowError:
            return False

    @property
    def still(self) -> bool:
        """Do counters stand still: in a core or a trace, or after the run?"""
        return not self.live or self.boot.stage in ("idle", "halted")

    @cached_property
    def registers(self) -> CpuRegisters:
        """Those of the first CPU."""
        return self.kernel.memory.cpu()

    @cached_property
    def printed(self) -> str | None:
        """All that was printed, of every boot; what the kernel's own log holds where COM1 is not kept."""
        if self._serial is not None:
            return self._serial()
        if self.kernel.root is None or self.reads_cost:
            return None
        return self.kernel.log().text

    @cached_property
    def shown(self) -> str | None:
        """What is on the screen; None when this memory does not have it, or it is in no text mode."""
        from bareflow_gdb.guest.machine.screen import read_screen

        try:
            return "\n".join(row.text.rstrip() for row in read_screen(self.kernel.memory).rows)
        except BareflowError:
            return None

    @cached_property
    def boots(self) -> list[str]:
        """What was printed, a text for each boot."""
        return boots(self.printed or "")

    @property
    def log(self) -> str:
        """What was printed since the last boot."""
        return self.boots[-1] if self.boots else ""

    @cached_property
    def log_is_whole(self) -> bool:
        """Does it reach from the first line of a boot to where the kernel's own buffer ends? A copy may be cut off."""
        try:
            kept = self.kernel.log()
        except BareflowError:
            return True
        if self._serial is None:
            return not kept.lost
        end = kept.text[-_END_CHARACTERS:].strip()
        return bool(self.log.startswith(FIRST_LINE) and self.log.rstrip().endswith(end))

    @cached_property
    def lacks_disk(self) -> bool:
        """Did our kernel find no second disk, from which tiers and bitcode come? An application needs none."""
        try:
            root = self.kernel.root
        except BareflowError:
            return False
        return root is not None and root.variant != "unikernel" and NO_DISK in self.log

    @cached_property
    def boot(self) -> Boot:
        """The boot record."""
        return self.kernel.boot()

    @cached_property
    def counters(self) -> Counters:
        """What the kernel counts."""
        from bareflow_gdb.guest.base.clock import read_counters

        root = self.kernel.need_interface("it keeps no counters")
        return read_counters(self.kernel.memory, root)

    @property
    def swaps_now(self) -> int | None:
        """How many swaps a guest that may move has made by now; None where that costs a packet, or is not known."""
        from bareflow_gdb.guest.base.clock import read_counters

        try:
            if not self.live or self.reads_cost or self.kernel.root is None:
                return None
            return read_counters(self.kernel.memory, self.kernel.root).swap_count
        except BareflowError:
            return None

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """The function table."""
        return self.kernel.functions()

    @cached_property
    def versions(self) -> tuple[Version, ...]:
        """The version table."""
        return self.kernel.versions()

    @cached_property
    def jit(self) -> Jit:
        """The adaptive JIT."""
        return self.kernel.jit(every=True)

    @cached_property
    def profile(self) -> Profile:
        """What the profiler counted."""
        return self.kernel.profile()

    @cached_property
    def modules(self) -> Modules:
        """The modules, each image with its SHA-256."""
        return self.kernel.modules(check=True)

    @cached_property
    def cache(self) -> Cache:
        """The cache of module images."""
        return self.kernel.cache()

    @cached_property
    def walked(self) -> tuple[Walked, ...]:
        """The instructions of JIT code, where it is as it was emitted: other code is one finding, not many."""
        from bareflow_gdb.guest.code.walked import Walker

        self._walker = self._walker or Walker()
        versions = self.versions if self.kernel.root is not None else ()
        return self._walker.walk(self.kernel.memory, self.kernel.jit_code(every=True), versions)

    @cached_property
    def blocks(self) -> tuple[tuple[str, Block], ...]:
        """The blocks of the pools with the kind of each pool, by address."""
        return tuple(self.kernel.pool_blocks())

    @cached_property
    def ring(self) -> Ring:
        """The main ring's header. Raises Absent."""
        from bareflow_gdb.guest.base.absent import NONE, Absent
        from bareflow_gdb.guest.boot.boot import need_rings
        from bareflow_gdb.guest.code.events import read_ring

        root = self.kernel.need_interface("it keeps no events")
        need_rings(self.kernel.memory)
        ring = read_ring(self.kernel.memory, root, 0)
        if ring is None:
            raise Absent("event ring", NONE, "its root descriptor leads to none")
        return ring

    @cached_property
    def swap_events(self) -> tuple[Event, ...]:
        """What the main ring still holds of versions and their code, by sequence number. Raises Absent."""
        from bareflow_gdb.guest.boot.boot import need_rings
        from bareflow_gdb.guest.code.events import MOST, SWAP_EVENTS, read_last

        root = self.kernel.need_interface("it keeps no events")
        need_rings(self.kernel.memory)
        return tuple(read_last(self.kernel.memory, root, 0, MOST, SWAP_EVENTS))

    @cached_property
    def exception(self) -> ExceptionRecord:
        """The last exception."""
        return self.kernel.exception()
