"""What are many code addresses called: return addresses, handlers?

`identify` answers for one address, with everything; here the tables are read once and only names come out.
Read budget: functions and versions as in functions.py, module manager 1 packet, exports 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.exports import read_exports
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.functions import Version, read_tables, version_at
from bareflow_gdb.guest.names.elf import KernelSymbols, Symbol
from bareflow_gdb.guest.names.identify import identify
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.paging import Linear, is_paged
from bareflow_gdb.memory.protocol import Memory

if TYPE_CHECKING:
    from bareflow_gdb.guest.code.jit_code import JitCode


@dataclass(frozen=True)
class Place:
    """An address with its name: `primes@O3 #24 + 0x1c`, `kernel_main + 0x40`, or only its region."""

    address: Address
    text: str
    region: str
    function: str
    """JIT function; "" = the code is none's."""
    level: int | None
    version: int | None


class Names:
    """The names there are at this moment; tables are read when an address needs them.

    A table that cannot be read leaves the region's name.
    """

    def __init__(
        self,
        memory: Memory,
        root: Root | None,
        elf: Callable[[], KernelSymbols],
        stock_code: Callable[[], Sequence[JitCode]] | None = None,
    ) -> None:
        """`elf` gives the names in the kernel's ELF.

        `stock_code` gives the JIT code of a kernel that has no root, and with it no version table.
        """
        self._memory = memory
        self._root = root
        self._elf = elf
        self._stock_code = stock_code
        self.paged: Linear | None = None
        """How a linear address becomes a physical one, once that is known."""

    def under(self, registers: CpuRegisters) -> None:
        """Addresses are those of code that runs with these registers: with paging they are linear ones."""
        self.paged = Linear(self._memory, registers) if is_paged(registers) else None

    @cached_property
    def symbols(self) -> KernelSymbols:
        """What the kernel's ELF calls its addresses."""
        return self._elf()

    @cached_property
    def _exports(self) -> dict[int, str]:
        # Names are a help, not the question.
        with suppress(BareflowError):
            if self._root is not None:
                return {export.address: export.name for export in read_exports(self._memory, self._root)}
        return {}

    @cached_property
    def _versions(self) -> list[Version]:
        with suppress(BareflowError):
            if self._root is not None:
                # Why a version was made is not asked here, and would cost packets.
                return read_tables(self._memory, self._root, [], causes=False).versions
        return []

    @cached_property
    def _codes(self) -> Sequence[JitCode]:
        # Perhaps it is neither kind of kernel, or not up yet.
        with suppress(BareflowError):
            if self._root is None and self._stock_code is not None:
                return self._stock_code()
        return ()

    def place(self, address: int, *, returned_to: bool = False) -> Place:
        """The name of a code address; never raises, however odd it is.

        A return address may be behind the end of the caller, when what it called never returns: so it is
        looked up by the byte before it.
        """
        physical = self.paged.physical(address) if self.paged is not None else None
        if physical is not None and physical != address:
            there = self._place(physical, returned_to)
            return replace(there, address=Address(address), text=f"{there.text}, physical 0x{physical:08x}")
        return self._place(address, returned_to)

    def _place(self, address: int, returned_to: bool) -> Place:
        sought = address - 1 if returned_to and address else address
        region = identify(self._memory, None, sought).region
        version = None
        if region == "code pool":
            # Before a version's first byte there is no code: then an interrupt returns to that byte, no call does.
            version = version_at(self._versions, sought) or version_at(self._versions, address)
        if version is not None:
            text = _plus(version.title, address - version.code)
            return Place(Address(address), text, region, version.function_name, version.level, version.number)
        # The pools of stock kernels lie in the kernel's own .bss.
        code = next((code for code in self._codes if code.holds(sought)), None) if region == "kernel" else None
        if code is not None:
            text = _plus(code.title, address - code.code)
            return Place(Address(address), text, region, code.function, code.level, None)
        symbol = self._symbol(sought) if region == "kernel" else None
        text = _plus(symbol.name, address - symbol.address) if symbol is not None else region
        return Place(Address(address), text, region, "", None, None)

    def entry(self, address: int) -> int:
        """Where the function at this address begins, 0 = not known."""
        code = next((code for code in self._codes if code.holds(address)), None)
        if code is not None:
            return code.code
        symbol = self.symbols.at(address)
        if symbol is None:
            return 0
        # The symbol of a module's image is that of its header.
        with suppress(BareflowError):
            magic = self._memory.read(symbol.address, 4, "module header")
            if magic == layouts.const("MODULE_MAGIC").to_bytes(4, "little"):
                return int(symbol.address + layouts.size("module_header"))
        return symbol.address

    def _symbol(self, address: int) -> Symbol | None:
        if self.symbols:
            return self.symbols.at(address)
        # Exports have no size: only their first byte is surely theirs.
        name = self._exports.get(address)
        return Symbol(name, address, 0) if name else None


def _plus(name: str, offset: int) -> str:
    return f"{name} + 0x{offset:x}" if offset else name


def is_code(memory: Memory, address: int) -> bool:
    """Could code be here: boot loader, kernel, code pool?"""
    return identify(memory, None, address).region in ("stage 1", "stage 2", "kernel", "code pool")
