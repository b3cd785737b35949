"""What can be asked about single things of a guest, and about its machine? The second half of `Guest`.

The tables as wholes (modules, pools, profile, …) are asked for in guest.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.reading import settled
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.pools.owners import read_owners
from bareflow_gdb.guest.pools.pools import Pools, read_blocks

# Each reader is imported by the first question to it: all of them are 30 ms, inside gdb at the first command.
if TYPE_CHECKING:
    from bareflow_gdb.guest.base.root import Root
    from bareflow_gdb.guest.code.bitcode_report import BitcodeReport
    from bareflow_gdb.guest.code.cache import Cache
    from bareflow_gdb.guest.code.jit_code import JitCode
    from bareflow_gdb.guest.machine.cpu import Cpu
    from bareflow_gdb.guest.machine.disk import Disk
    from bareflow_gdb.guest.machine.irq import Irq
    from bareflow_gdb.guest.machine.log import Log
    from bareflow_gdb.guest.machine.screen import Screen
    from bareflow_gdb.guest.machine.serial import Serial
    from bareflow_gdb.guest.machine.stack import Stack
    from bareflow_gdb.guest.modules.header import HeaderReport
    from bareflow_gdb.guest.modules.modules import Modules
    from bareflow_gdb.guest.names.kernel_symbols import KernelSymbols
    from bareflow_gdb.guest.names.names import Names
    from bareflow_gdb.guest.pools.block import BlockReport
    from bareflow_gdb.guest.stock.kernel import StockKernel
    from bareflow_gdb.memory.protocol import Memory

_CHEAP_LOG = 12 << 10


class Details(ABC):
    """Questions that `Guest` inherits; each raises only BareflowError and its children."""

    memory: Memory
    stock: StockKernel
    _named_by: Path | None = None

    @cached_property
    def kernel_symbols(self) -> KernelSymbols:
        """Names of the kernel's functions; none until `name_kernel`."""
        from bareflow_gdb.guest.names.kernel_symbols import KernelSymbols

        return KernelSymbols()

    @abstractmethod
    def root(self) -> Root:
        """The root descriptor, or BadData."""

    @abstractmethod
    def _root_unless_stock(self) -> Root | None:
        """The root descriptor; None when the kernel is one without; or BadData."""

    @abstractmethod
    def need_interface(self, instead: str) -> Root:
        """The root descriptor; of a stock kernel BadData that tells what to do instead."""

    @abstractmethod
    def modules(self, check: bool = False) -> Modules:
        """The loaded modules."""

    @abstractmethod
    def log(self, last: int | None = None) -> Log:
        """The kernel's log buffer."""

    @abstractmethod
    def jit_code(self) -> Sequence[JitCode]:
        """All code in memory that the adaptive JIT made."""

    @abstractmethod
    def pools(self, kind: str | None = None, check: bool = False) -> Pools:
        """The pools with their blocks."""

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
        """A function's bitcode, or the one at an address: header, generation, producer."""
        from bareflow_gdb.guest.code.bitcode_report import (
            read_bitcode_at,
            read_bitcode_report,
            report_bitcode,
        )

        if isinstance(wanted, int):
            return read_bitcode_at(self.memory, wanted)
        root = self._root_unless_stock()
        if root is not None:
            return read_bitcode_report(self.memory, root, wanted)
        carried = {one.function: one for one in self.stock.bitcode()}
        if wanted not in carried:
            known = ", ".join(carried) or "none"
            raise UsageError(f"the kernel's image carries no bitcode of {wanted!r}; there is: {known}")
        return report_bitcode(self.memory, carried[wanted])

    def block(self, address: int, shown: int | None = None) -> BlockReport:
        """The pool block around an address, its first `shown` bytes (None: some) and its neighbours."""
        from bareflow_gdb.guest.pools.block import SHOWN_BYTES, read_block

        shown = SHOWN_BYTES if shown is None else shown
        root = self._root_if_any()
        if root is None:
            # A kernel without a block table: its pools are walked.
            pools = self.pools().pools
            return read_block(self.memory, [(p.kind, b) for p in pools for b in p.blocks], address, shown)
        owners = read_owners(self.memory, root)
        return settled(
            self.memory,
            lambda: read_block(self.memory, read_blocks(self.memory, root, owners), address, shown),
        )

    def cache(self) -> Cache:
        """The kernel's cache of module images."""
        from bareflow_gdb.guest.code.cache import read_cache

        root = self.need_interface(
            "its cache is part of its image; `modules` tells what runs, `screen` what was replaced"
        )
        return read_cache(self.memory, root)

    def cpu(self) -> Cpu:
        """Mode, registers, descriptor tables, handlers. Works without a root too."""
        from bareflow_gdb.guest.machine.cpu import read_cpu

        root = self._root_if_any()
        return read_cpu(self.memory, root, self._names(root))

    def irq(self) -> Irq:
        """The interrupt lines. Works without a root too."""
        from bareflow_gdb.guest.machine.irq import read_irq

        root = self._root_if_any()
        return read_irq(self.memory, root, self._names(root))

    def stack(self, esp: int | None = None, ebp: int | None = None, eip: int | None = None) -> Stack:
        """The callers and the deepest use, from the registers or from what is given."""
        from bareflow_gdb.guest.machine.stack import read_stack

        root = self._root_if_any()
        return read_stack(self.memory, root, self._names(root), esp, ebp, eip)

    def screen(self) -> Screen:
        """The VGA text. Needs no root."""
        from bareflow_gdb.guest.machine.screen import read_screen

        return read_screen(self.memory)

    def disk(self) -> Disk:
        """The second disk: its volume, and the guest's own state of it. Works without a root too."""
        from bareflow_gdb.guest.machine.disk import read_disk
        from bareflow_gdb.guest.stock.search import FAT16

        try:
            root = self._root_unless_stock()
            state = root.fat16 if root is not None else self.stock.address(FAT16)
        except BareflowError:
            state = Address(0)
        return read_disk(self.memory, state)

    def serial(self, last: int | None = None) -> Serial:
        """Serial output by the kernel's log buffer; where its file is, the machine knows.

        Without `last` as much of it as ten packets carry.
        """
        from bareflow_gdb.guest.machine.serial import serial_from_log

        return serial_from_log(self.log(_CHEAP_LOG if last is None else last))

    def name_kernel(self, elf: Path) -> bool:
        """Takes the kernel's names from this ELF file, if it is this kernel's; looked at once only.

        Raises BadData when it is no ELF file.
        """
        from bareflow_gdb.guest.names.elf_check import check_elf, load_elf
        from bareflow_gdb.guest.names.kernel_symbols import read_kernel_symbols

        if elf == self._named_by:
            return bool(self.kernel_symbols)
        root = self._root_if_any()
        if root is None and not check_elf(self.memory, load_elf(elf)).same:
            return False
        self.kernel_symbols = read_kernel_symbols(elf, root.build_id if root else None)
        self._named_by = elf
        return bool(self.kernel_symbols)

    def names(self) -> Names:
        """The names that code addresses have at this moment."""
        return self._names(self._root_if_any())

    def _names(self, root: Root | None) -> Names:
        from bareflow_gdb.guest.names.names import Names

        return Names(self.memory, root, self.kernel_symbols, self.jit_code)

    def _root_if_any(self) -> Root | None:
        try:
            return self.root()
        except BareflowError:
            return None
