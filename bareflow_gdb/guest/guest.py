"""Which kernel is in this memory? The one object that every question starts from.

It keeps what outlives a question: where the root descriptor is, where a stock kernel's records were found, which
ELF file is the kernel's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.base.answer import Answer
from bareflow_gdb.guest.base.find import find_root, read_root
from bareflow_gdb.guest.base.loaded import being_loaded
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.names.elf import ElfOfKernel
from bareflow_gdb.guest.own import LibraryKernel, NoKernel, OwnKernel
from bareflow_gdb.guest.stock.kernel import StockKernel, looks_stock
from bareflow_gdb.guest.stock.places import Cpu, Places
from bareflow_gdb.guest.stock.window import Progress
from bareflow_gdb.memory.protocol import Memory

R = TypeVar("R")


class Guest:
    """A guest seen through one `Memory`."""

    def __init__(
        self,
        memory: Memory,
        symbols: Mapping[str, int] | None = None,
        elves: Callable[[], Iterable[Path]] = tuple,
        guesses: Callable[[str], Iterable[Path]] = lambda _: (),
        say: Progress | None = None,
    ) -> None:
        """symbols: addresses that a debugger knows by name. elves: the kernel's ELF file, as the user says; guesses:
        files that may be it.

        `say` is told, in sentences, of a search that takes longer than a second, and of an ELF that is not used.
        """
        self.memory = memory
        self.symbols: Mapping[str, int] = {} if symbols is None else symbols
        self.elf = ElfOfKernel(memory, elves, guesses, say)
        self.found_by = ""
        """How the root descriptor was found: "image header", "symbol" or "scan"; "" = not found yet."""
        self._root_address = 0
        self.places = Places(memory, self._known, lambda: self.elf.symbols().by_name)
        """Where the records of a stock kernel are."""
        self.places.cpu = lambda: cpu_of(memory)
        self.places.progress = say
        self.serial_log: Callable[[], str] | None = None
        """Gives what was printed on COM1, where that is kept."""

    @classmethod
    def attach(
        cls,
        memory: Memory,
        symbols: Mapping[str, int] | None = None,
        elves: Callable[[], Iterable[Path]] = tuple,
        guesses: Callable[[str], Iterable[Path]] = lambda _: (),
        say: Progress | None = None,
    ) -> Guest:
        """A guest whose root has been looked for. It need not be there: the boot may not have come so far."""
        guest = cls(memory, symbols, elves, guesses, say)
        guest.find(scan=True)
        return guest

    def find(self, *, scan: bool = False) -> Root | None:
        """Looks for the root descriptor again; None, and no error, when there is none that can be used.

        `scan` goes through RAM when nothing points to it: about 300 packets over a gdbstub, once per attach.
        """
        self.found_by, self._root_address = "", 0
        try:
            return self._found(scan)
        except BareflowError:
            return None

    def root(self) -> Root:
        """The root descriptor, 1 packet; raises BadData with the reason when none can be used."""
        if self._root_address:
            try:
                return read_root(self.memory, self._root_address)
            except BareflowError:
                # Another kernel may have been booted since: look once more, and say what is wrong then.
                self._root_address = 0
        return self._found(scan=False)

    def kernel(self) -> Kernel:
        """The kernel in memory, for one question."""
        try:
            root = self.root()
        except BareflowError as error:
            self.places.begin()
            if looks_stock(self.memory):
                return StockKernel(self.memory, self.elf.symbols, self.places, self.serial_log)
            loading = being_loaded(self.memory)
            reason = BadData(f"there is no root descriptor yet: {loading}; let the boot go on") if loading else error
            return NoKernel(self.memory, self.elf.symbols, reason)
        kind = LibraryKernel if root.variant == "unikernel" else OwnKernel
        return kind(self.memory, lambda: self.elf.symbols(root.build_id), root)

    def answer(self, question: Callable[[Kernel], R]) -> Answer[R]:
        """What the kernel says to a question, with where that was read from."""
        kernel = self.kernel()
        return kernel.answered(question(kernel))

    def _known(self) -> Mapping[str, int]:
        """Addresses by name: those of the debugger, else those in the kernel's ELF."""
        return self.symbols or self.elf.symbols().by_name

    def _found(self, scan: bool) -> Root:
        found = find_root(self.memory, self._known, scan=scan)
        self.found_by, self._root_address = found.how, found.root.address
        return found.root


def cpu_of(memory: Memory) -> Cpu | None:
    """None where no registers come with the memory, as with a raw dump, or where asking would stop a running guest."""
    if memory.asking_stops:
        return None
    try:
        registers = memory.cpu()
    except BareflowError:
        return None
    general = registers.general
    return Cpu(bool(registers.control["cr0"] & 1), general["esp"], general["eip"], bool(general["eflags"] & 1 << 9))
