"""What can be asked of a kernel, whichever it is? One protocol for ours, stock ones, and none at all.

A `Kernel` answers one question: it is made again for each, so that what the answer was read from belongs to that
answer. Nothing is read before it is asked for, and nothing is kept: caching is the memory reader's business, which
knows when the guest has moved. Every question raises only BareflowError and its children.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.answer import Answer, Located
from bareflow_gdb.guest.base.reading import settled
from bareflow_gdb.guest.base.values import Address

# Each reader is imported by the first question to it: all of them are 30 ms, inside gdb at the first command.
if TYPE_CHECKING:
    from pathlib import Path

    from bareflow_gdb.guest.base.root import Root
    from bareflow_gdb.guest.boot.boot import Boot
    from bareflow_gdb.guest.boot.foreign_boot import ForeignBoot
    from bareflow_gdb.guest.code.bitcode import Bitcode
    from bareflow_gdb.guest.code.bitcode_report import BitcodeReport
    from bareflow_gdb.guest.code.cache import Cache
    from bareflow_gdb.guest.code.events import Event, Ring
    from bareflow_gdb.guest.code.functions import Function, Version
    from bareflow_gdb.guest.code.jit import Jit
    from bareflow_gdb.guest.code.jit_code import JitCode
    from bareflow_gdb.guest.code.mailbox import Mailbox
    from bareflow_gdb.guest.code.profiler import Profile
    from bareflow_gdb.guest.code.swaps import Swaps
    from bareflow_gdb.guest.machine.cpu import Cpu
    from bareflow_gdb.guest.machine.disk import Disk
    from bareflow_gdb.guest.machine.exception import ExceptionRecord
    from bareflow_gdb.guest.machine.irq import Irq
    from bareflow_gdb.guest.machine.log import Log
    from bareflow_gdb.guest.machine.serial import Serial
    from bareflow_gdb.guest.machine.stack import Stack
    from bareflow_gdb.guest.model.inference import Inference, NoInference
    from bareflow_gdb.guest.model.tensors import Tensor, TensorReport
    from bareflow_gdb.guest.modules.header import HeaderReport
    from bareflow_gdb.guest.modules.modules import Modules
    from bareflow_gdb.guest.names.elf import KernelSymbols
    from bareflow_gdb.guest.names.identify import Identity
    from bareflow_gdb.guest.names.names import Names
    from bareflow_gdb.guest.pools.block import BlockReport
    from bareflow_gdb.guest.pools.pools import Block, Pools
    from bareflow_gdb.guest.status import Status
    from bareflow_gdb.memory.protocol import Memory

T = TypeVar("T")

_CHEAP_LOG = 12 << 10
_MOVING = "whether its parts are of one moment: the guest changed them at every look; pause the machine and ask again"


class Kernel(ABC):
    """The kernel that one question is put to."""

    root: Root | None = None
    """Its root descriptor; only kernels with the debug interface have one."""

    def __init__(self, memory: Memory, elf: Callable[[], KernelSymbols]) -> None:
        """`elf` gives what the kernel's ELF file calls its addresses; it is asked when a name is needed."""
        self.memory = memory
        self.elf = elf
        self.found: list[Located] = []
        """The records that were read, for kernels whose records have to be found."""
        self.unknown: tuple[str, ...] = ()
        """What the answer cannot tell, as sentences."""
        self._moving = False
        """A table that was read never held still."""

    @property
    def reads_cost(self) -> bool:
        """Does each read of memory take a packet?"""
        return bool(getattr(self.memory, "packet_bytes", 0))

    @abstractmethod
    def need_interface(self, instead: str) -> Root:
        """The root descriptor; raises BadData, of a stock kernel with what to do `instead`."""

    # What each kernel answers in its own way.

    @abstractmethod
    def status(self) -> Status:
        """Where the guest is, what is wrong, what to do next."""

    @abstractmethod
    def modules(self, check: bool = False) -> Modules:
        """Loaded modules and their headers; `check` also computes each image's SHA-256."""

    @abstractmethod
    def pools(self, kind: str | None = None, check: bool = False) -> Pools:
        """The three pools or one of them; `check` also walks the pools' own block headers."""

    @abstractmethod
    def pool_blocks(self) -> list[tuple[str, Block]]:
        """Every block of the pools with the kind of its pool."""

    @abstractmethod
    def profile(self) -> Profile:
        """What the function profiler counted, the hottest first."""

    @abstractmethod
    def jit(self, every: bool = False) -> Jit:
        """Functions with versions, thresholds, current code, control words; `every` as for `versions`."""

    @abstractmethod
    def swaps(self, last: int | None = None, every: bool = False) -> Swaps:
        """Swaps from the version table; when it does not tell all, from the ring's last events too.

        `last` None: as many events as are cheap to read; `every` as for `versions`.
        """

    @abstractmethod
    def bitcode(self, function: str | None = None) -> tuple[Bitcode, ...]:
        """The bitcode wrapper of each function, or of one; empty when no function of that name has any."""

    @abstractmethod
    def slots(self) -> dict[str, Address]:
        """Where each function's published code pointer is kept, by the function's name."""

    @abstractmethod
    def jit_code(self, every: bool = False) -> tuple[JitCode, ...]:
        """All code in memory that the adaptive JIT made, by address.

        Over a gdbstub, and unless `every` is asked for, the newest of very many versions and most published ones.
        """

    @abstractmethod
    def module_table(self) -> tuple[Address, int]:
        """Where the records of the modules begin, and the bytes of each."""

    @abstractmethod
    def pool_table(self) -> Address:
        """Where the records of the three pools begin."""

    @abstractmethod
    def _fat16(self) -> Address:
        """The kernel's record of its FAT16 volume; 0 = there is none, or none yet."""

    # What only kernels with the debug interface keep.

    def functions(self) -> tuple[Function, ...]:
        """The function table."""
        from bareflow_gdb.guest.code.functions import function_table

        root = self.need_interface("`jit` shows its functions")
        return tuple(function_table(self.memory, root))

    def versions(self, causes: bool = True, every: bool = True) -> tuple[Version, ...]:
        """The version table by number; why each was made costs a packet of its own.

        Not `every`: what ten packets leave room for, where reads cost packets.
        """
        from bareflow_gdb.guest.code.functions import read_tables

        root = self.need_interface("it keeps no versions; `jit` shows the code of each tier")
        return tuple(read_tables(self.memory, root, [], every, causes).needed())

    def mailbox(self) -> Mailbox:
        """The slots of registered functions."""
        from bareflow_gdb.guest.code.functions import function_table
        from bareflow_gdb.guest.code.mailbox import read_mailbox

        root = self.need_interface("it takes no code from outside")
        return read_mailbox(self.memory, root, function_table(self.memory, root))

    def exception(self) -> ExceptionRecord:
        """The last exception taken; its count is 0 when there was none."""
        from bareflow_gdb.guest.machine.exception import read_exception

        root = self.need_interface(
            "it prints exceptions on the screen only (`screen`), and gdb_scripts/dump_at_exception.py catches the next"
        )
        return read_exception(self.memory, root)

    def log(self, last: int | None = None) -> Log:
        """What was printed on COM1, the last `last` bytes or all that is kept."""
        from bareflow_gdb.guest.machine.log import read_log

        root = self.need_interface(
            "it keeps no log; `serial` shows what came out of COM1, where that is written to a file"
        )
        return read_log(self.memory, root, last)

    def rings(self) -> tuple[Ring, ...]:
        """The headers of the event rings."""
        from bareflow_gdb.guest.boot.boot import need_rings
        from bareflow_gdb.guest.code.events import read_ring

        root = self.need_interface("it records no events")
        need_rings(self.memory)
        found = (read_ring(self.memory, root, index) for index in range(len(root.rings)))
        return tuple(ring for ring in found if ring is not None)

    def events(self, last: int | None = None, types: frozenset[str] | None = None) -> list[Event]:
        """The last events of all rings by time, at most `last` of each (None: 128).

        `types`: those of these types, from among all that the rings still hold.
        """
        from bareflow_gdb.guest.boot.boot import need_rings
        from bareflow_gdb.guest.code.events import LAST, read_all_last

        root = self.need_interface("it records no events")
        need_rings(self.memory)
        missing: list[str] = []
        found = read_all_last(self.memory, root, LAST if last is None else last, missing, types)
        self.unknown = tuple(missing)
        return found

    def cache(self) -> Cache:
        """The kernel's cache of module images."""
        from bareflow_gdb.guest.code.cache import read_cache

        root = self.need_interface(
            "its cache is part of its image; `modules` shows what runs, `screen` what was replaced"
        )
        return read_cache(self.memory, root)

    def inference(self) -> Inference | NoInference:
        """What a language model in the guest is at."""
        from bareflow_gdb.guest.model.inference import read_inference

        return read_inference(self.memory, self.need_interface("it runs no language model"))

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a language model in the guest, by name. Raises BadData when there is none."""
        from bareflow_gdb.guest.model.tensors import read_tensors

        return read_tensors(self.memory, self.need_interface("it runs no language model"))

    def tensor(
        self,
        name: str,
        row: int | None = None,
        limit: int = 64,
        every: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> TensorReport:
        """A corner of a tensor or one row's first `limit` values, and statistics; `every`: of all its values.

        `say` is told how far it is. Raises BadData, UsageError for a name or a row that is not there.
        """
        from bareflow_gdb.guest.model.tensors import named, report

        return report(self.memory, named(self.tensors(), name), row, limit, every=every, say=say)

    # What is asked of every kernel in the same way.

    def boot(self) -> Boot:
        """Stages, disk, checks. Answers before a kernel is in memory. 3 packets."""
        from bareflow_gdb.guest.base.clock import read_counters
        from bareflow_gdb.guest.boot.boot import read_boot

        tsc_hz = 0
        if self.root is not None and self.root.status:
            with suppress(BareflowError):
                tsc_hz = read_counters(self.memory, self.root).tsc_hz
        return read_boot(self.memory, self.root, tsc_hz)

    def loaded(self, image: Path | None) -> ForeignBoot:
        """What can be told of a boot without a record, by the kernel's ELF or by the disk that it was booted from."""
        from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
        from bareflow_gdb.guest.boot.foreign_boot import Piece, image_pieces, read_foreign_boot
        from bareflow_gdb.guest.names.elf import loaded_sections

        elf = self.elf().path
        if elf is not None:
            return read_foreign_boot(self.memory, tuple(Piece(*one) for one in loaded_sections(elf)), elf.name)
        pieces = image_pieces(image, kernel_base(self.memory) or USUAL) if image is not None else ()
        return read_foreign_boot(self.memory, pieces, image.name if image is not None else "")

    def header(self, wanted: str | int, check: bool = False) -> HeaderReport:
        """A module's header with all that it says of its image, by the module's name or an address."""
        from bareflow_gdb.guest.modules.header import read_header

        try:
            modules = self.modules()
        except BareflowError:
            # An address can be looked at without them; a name cannot.
            if isinstance(wanted, str):
                raise
            modules = None
        return read_header(self.memory, modules, wanted, check)

    def bitcode_of(self, wanted: str | int) -> BitcodeReport:
        """A function's bitcode, or the one at an address: header, generation, producer. Raises UsageError."""
        from bareflow_gdb.guest.code.bitcode_report import read_bitcode_at, report_bitcode

        if isinstance(wanted, int):
            return read_bitcode_at(self.memory, wanted)
        for carried in self.bitcode(wanted):
            return report_bitcode(self.memory, carried)
        known = ", ".join(carried.function for carried in self.bitcode()) or "none yet"
        raise UsageError(f"there is no bitcode of {wanted!r}; there is some of: {known}")

    def block(self, address: int, shown: int | None = None) -> BlockReport:
        """The pool block around an address, its first `shown` bytes (None: some) and its neighbours."""
        from bareflow_gdb.guest.pools.block import SHOWN_BYTES, read_block

        shown = SHOWN_BYTES if shown is None else shown
        return self._settled(lambda: read_block(self.memory, self.pool_blocks(), address, shown))

    def cpu(self) -> Cpu:
        """Mode, registers, descriptor tables, handlers."""
        from bareflow_gdb.guest.machine.cpu import read_cpu

        return read_cpu(self.memory, self.root, self.names())

    def irq(self) -> Irq:
        """The interrupt lines."""
        from bareflow_gdb.guest.machine.irq import read_irq

        return read_irq(self.memory, self.root, self.names())

    def stack(self, esp: int | None = None, ebp: int | None = None, eip: int | None = None) -> Stack:
        """The callers and the deepest use, from the registers or from what is given."""
        from bareflow_gdb.guest.machine.stack import read_stack

        return read_stack(self.memory, self.root, self.names(), esp, ebp, eip)

    def at_code(self, address: int) -> tuple[Memory, str]:  # noqa: ARG002 - where no kernel is known it matters
        """The memory that code at this address is in, and what is to be said about it."""
        return self.memory, ""

    def identify(self, address: int) -> Identity:
        """What is at this address? Works without a kernel too, with less to say."""
        from bareflow_gdb.guest.names.identify import by_elf, identify

        return by_elf(identify(self.memory, self.root, address), self.elf)

    def disk(self) -> Disk:
        """The second disk: its volume, and the guest's own state of it."""
        from bareflow_gdb.guest.machine.disk import read_disk

        return read_disk(self.memory, self._fat16())

    def serial(self, last: int | None = None) -> Serial:
        """Serial output by the kernel's log buffer; where its file is, the machine knows.

        Without `last` as much of it as ten packets carry.
        """
        from bareflow_gdb.guest.machine.serial import serial_from_log

        return serial_from_log(self.log(_CHEAP_LOG if last is None else last))

    def names(self) -> Names:
        """The names that code addresses have at this moment."""
        from bareflow_gdb.guest.names.names import Names

        return Names(self.memory, self.root, self.elf, self.jit_code)

    def answered(self, record: T) -> Answer[T]:
        """What was read, with where that was read from."""
        return Answer(record, tuple(self.found), (*self.unknown, *((_MOVING,) if self._moving else ())))

    def _settled(self, read: Callable[[], T]) -> T:
        record, still = settled(self.memory, read)
        self._moving = self._moving or not still
        return record
