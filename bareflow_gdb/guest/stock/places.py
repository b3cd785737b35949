"""Which record of a stock kernel is where, how was that found, and how sure is it?

In turn: symbols, arguments caught at the entry of functions, a search of the kernel's memory. What was found is
kept, and looked at again before each use: a guest may have been reset, or another kernel booted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.absent import CANNOT_KNOW, NONE, NOT_YET, Absent
from bareflow_gdb.guest.base.answer import Located
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.stock import signatures
from bareflow_gdb.guest.stock.generations import GENERATIONS, NEWEST, Generation
from bareflow_gdb.guest.stock.search import FAT16, JIT, JIT_PROFILE, KINDS, MANAGER, POOLS, search
from bareflow_gdb.guest.stock.signatures import Match
from bareflow_gdb.guest.stock.window import END, STACK, Progress, Window
from bareflow_gdb.memory.protocol import Memory

SYMBOLS = {"g_pools": POOLS}
"""Data that stock kernels have symbols for; the other records are locals."""

ARGUMENTS = {
    "adaptive_jit_init": JIT,
    "adaptive_jit_register_function": JIT,
    "adaptive_jit_execute": JIT,
    "module_init": MANAGER,
    "module_load": MANAGER,
    "module_execute": MANAGER,
    "jit_profile_init": JIT_PROFILE,
    "jit_profile_begin": JIT_PROFILE,
    "jit_profile_end": JIT_PROFILE,
    "fat16_init": FAT16,
}
"""Functions whose first argument, [ESP + 4] at their entry, is the address of a record."""

PARTS: dict[str, tuple[str, ...]] = {
    kind: (
        *(name for name, meant in SYMBOLS.items() if meant == kind),
        *(name for name, meant in ARGUMENTS.items() if meant == kind),
    )
    for kind in KINDS
}
"""Names that the ELF of a kernel with such a part has."""

# The top of the stack: the counts and last entries of a main function's locals, or its callees' frames.
_FINGERPRINT = (0x8F000, 0x1000)
_CHECKS: dict[str, Callable[[signatures.Read, int, bool], Match | None]] = {
    JIT: signatures.adaptive_jit,
    POOLS: signatures.pools,
    JIT_PROFILE: signatures.jit_profile,
    FAT16: signatures.fat16,
}


@dataclass(frozen=True)
class Cpu:
    """What the registers say about the memory: a source that has registers gives it."""

    protected: bool
    """CR0.PE: before it is set no kernel runs, whatever an earlier one left in memory."""
    esp: int
    """What lies below it on the stack is no longer in use."""
    eip: int = field(default=0, compare=False)
    interrupts_on: bool = field(default=True, compare=False)


_PROTECTED, _ET, _CR0_BITS = 1, 1 << 4, 0xE005003F
_ESP_AT, _EIP_AT, _EFLAGS_AT, _CR0_AT = 4 * 4, 4 * 8, 4 * 9, 76
_INTERRUPTS = 1 << 9
_HLT = b"\xf4"


def cpu_of_packet(registers: bytes) -> Cpu | None:
    """From the answer to `g` of QEMU's gdbstub, ordered as its target description says (gdb-xml/i386-32bit.xml):
    8 general registers, EIP, EFLAGS, 6 segments, 3 bases, CR0.

    None when it is something else.
    """
    try:
        raw = bytes.fromhex(registers.decode("ascii"))
    except ValueError:
        return None
    cr0 = int.from_bytes(raw[_CR0_AT : _CR0_AT + 4], "little")
    if len(raw) < _CR0_AT + 4 or cr0 & ~_CR0_BITS or not cr0 & _ET:
        return None
    esp, eip, eflags = (int.from_bytes(raw[at : at + 4], "little") for at in (_ESP_AT, _EIP_AT, _EFLAGS_AT))
    return Cpu(bool(cr0 & _PROTECTED), esp, eip, bool(eflags & _INTERRUPTS))


def has_halted(memory: Memory, cpu: Cpu | None) -> bool:
    """Does the CPU stand behind a `hlt` that no interrupt ends? Then nothing comes any more."""
    if cpu is None or cpu.interrupts_on or not cpu.eip:
        return False
    try:
        return memory.read(cpu.eip - 1, 1, "code before EIP") == _HLT
    except ReadError:
        return False


class Places:
    """The places of one kernel's records."""

    def __init__(
        self,
        memory: Memory,
        symbols: Callable[[], Mapping[str, int]],
        elf_names: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`symbols` gives addresses by name, as far as a debugger was asked for them; `elf_names` all in the kernel's
        ELF. They are asked when a record is sought.
        """
        self.memory = memory
        self.symbols = symbols
        self.elf_names = elf_names
        self.cpu: Callable[[], Cpu | None] | None = None
        self._cpu_now: Cpu | None = None
        self._cpu_asked = False
        self.progress: Progress | None = None
        self.doubts: list[str] = []
        """Symbols and arguments that memory contradicts."""
        self._told: dict[str, list[int]] = {}
        self._found: dict[str, tuple[Located, Generation | None]] = {}
        self._absent_at: int | None = None
        self._searched = False
        """All was searched for this question."""

    def tell(self, pairs: Iterable[tuple[str, int]]) -> None:
        """Takes (function, first argument) pairs caught at function entry; functions not in ARGUMENTS are left."""
        for function, argument in pairs:
            kind = ARGUMENTS.get(function)
            if kind is not None and argument not in self._told.setdefault(kind, []):
                self._told[kind].append(argument)
                self._absent_at, self._searched = None, False
                # What a function was given is surer than what was found by its looks.
                if kind in self._found and self._found[kind][0].how.startswith("search"):
                    del self._found[kind]

    def find(self, kind: str) -> Located:
        """The place of this record; raises BadData with what was looked for where, and what to do."""
        cpu = self._registers()
        if cpu is not None and not cpu.protected:
            why = f"the CPU is still in real mode, so no kernel has filled its {kind} yet"
            raise Absent(kind, NOT_YET, why, "let the guest run on")
        known = self._found.get(kind)
        if known is not None and self._still(kind, *known):
            return known[0]
        self._found.pop(kind, None)
        found = self._by_symbol(kind) or self._by_argument(kind, cpu)
        if found is None:
            self._search(cpu)
            found = self._found.get(kind) or self._merely_told(kind)
        if found is None:
            raise self._absent(kind)
        self._found[kind] = found
        return found[0]

    def begin(self) -> None:
        """A new question: the registers may have changed, and the guest may have made what was not there."""
        self._cpu_asked = False
        self._searched = False

    def _registers(self) -> Cpu | None:
        """Asked for once per question: QEMU's monitor takes some milliseconds."""
        if not self._cpu_asked:
            self._cpu_asked = True
            self._cpu_now = self.cpu() if self.cpu is not None else None
        return self._cpu_now

    def generation(self) -> Generation:
        """Of the module manager that was found."""
        known = self._found.get(MANAGER)
        return known[1] if known is not None and known[1] is not None else NEWEST

    def known(self) -> tuple[Located, ...]:
        """Everything found so far."""
        return tuple(self._found[kind][0] for kind in KINDS if kind in self._found)

    def _read(self, address: int, size: int) -> bytes | None:
        try:
            return self.memory.read(address, size, "record of a stock kernel")
        except ReadError:
            return None

    def _check(self, kind: str, address: int, deep: bool, generation: Generation | None = None) -> Match | None:
        if kind != MANAGER:
            return _CHECKS[kind](self._read, address, deep)
        for one in GENERATIONS if generation is None else (generation,):
            match = signatures.module_manager(self._read, address, one, deep)
            if match is not None:
                return match
        return None

    def _still(self, kind: str, finding: Located, generation: Generation | None) -> bool:
        # One that was only told is looked at as if for the first time: it may have been filled since.
        if finding.confidence == "told":
            return False
        return self._check(kind, finding.address, False, generation) is not None

    def _by_symbol(self, kind: str) -> tuple[Located, Generation | None] | None:
        for name, meant in SYMBOLS.items():
            address = self.symbols().get(name) if meant == kind else None
            if address is not None:
                match = self._check(kind, address, True)
                if match is not None:
                    return _finding(kind, match, "symbol", match.certain)
                # With the right ELF it is that record all the same, of a layout that nobody here has seen.
                if any(self._read(address, 132) or b"") and self.elf_names().get(name) != address:
                    self._doubt(f"the symbol {name} (0x{address:08x}) leads to no {kind}: is it this kernel's ELF?")
        return None

    def _by_argument(self, kind: str, cpu: Cpu | None) -> tuple[Located, Generation | None] | None:
        for address in reversed(self._told.get(kind, [])):
            match = self._check(kind, address, True)
            if match is not None and not _is_dead(address, cpu):
                return _finding(kind, match, "argument", True)
        return None

    def _merely_told(self, kind: str) -> tuple[Located, Generation | None] | None:
        """The last argument, when it can be the address of such a record: the kernel is about to fill it."""
        for address in reversed(self._told.get(kind, [])):
            if address % 4 == 0 and (kernel_base(self.memory) or USUAL) <= address < END:
                finding = Located(kind, Address(address), "argument", "told", "the kernel has not filled it yet")
                return finding, None
        return None

    def _search(self, cpu: Cpu | None) -> None:
        fingerprint = self._fingerprint()
        if self._searched or (fingerprint is not None and fingerprint == self._absent_at):
            return
        # Where reading is free nothing else tells that nothing has changed.
        self._searched = self.memory.packets == 0
        window = Window(self.memory, self.progress)
        if self._searched:
            # Reading was free, so all of it tells; with the stack pointer, below which nothing is in use.
            fingerprint = zlib.crc32(window.data, cpu.esp if cpu is not None else 0)
            if fingerprint == self._absent_at:
                return
        for kind in KINDS:
            if kind in self._found:
                continue
            surer = self._by_symbol(kind) or self._by_argument(kind, cpu)
            if surer is not None:
                self._found[kind] = surer
                continue
            matches = [match for match in search(window, kind) if not _is_dead(match.address, cpu)]
            if matches:
                best, alone = _best(window, matches)
                where = "the stack" if best.address >= STACK else "the kernel's data"
                self._found[kind] = _finding(kind, best, f"search of {where}", best.certain and alone, matches)
        self._absent_at = fingerprint

    def _fingerprint(self) -> int | None:
        """Of the top of the stack, 2 packets: while it is unchanged, another search would find nothing new."""
        if self.memory.packets == 0:
            return None
        data = self._read(*_FINGERPRINT)
        return zlib.crc32(data) if data is not None else None

    def _doubt(self, sentence: str) -> None:
        if sentence not in self.doubts:
            self.doubts.append(sentence)

    def halted(self) -> bool | None:
        """Has the guest halted for good? None where no registers tell."""
        cpu = self._registers()
        return None if cpu is None else has_halted(self.memory, cpu)

    def has_only(self, kind: str, other: str) -> bool:
        """Does the kernel's ELF have the one part, and not the other?"""
        names = self.elf_names()
        return any(name in names for name in PARTS[kind]) and not any(name in names for name in PARTS[other])

    def _absent(self, kind: str) -> Absent:
        others = [finding.what for finding in self.known()]
        span = self._span()
        if kind in (MANAGER, JIT) and JIT_PROFILE in others:
            return Absent(kind, NONE, f"this is a unikernel, {span} hold its JIT profile", "ask for `profile`")
        if kind == JIT_PROFILE and others:
            return Absent(kind, NONE, f"{span} hold {', '.join(others)}, this is not a unikernel", "ask for `jit`")
        names = self.elf_names()
        if names and not any(name in names for name in PARTS[kind]):
            return Absent(kind, NONE, f"its ELF has none of {', '.join(PARTS[kind])}, and {span} hold none")
        if self.halted():
            return Absent(kind, CANNOT_KNOW, f"the guest has halted for good, and {span} hold none")
        doubt = f" ({'; '.join(self.doubts)})" if self.doubts else ""
        searched = f"this kernel has no root descriptor, and {span} were searched for its stock layout{doubt}"
        if self.memory.asking_stops:
            # Its registers were not asked, so it may have halted.
            return Absent(kind, NOT_YET, searched, "`cpu` shows whether it has halted; else ask again later")
        return Absent(kind, NOT_YET, searched, "let the guest run on and ask again, or give the kernel's ELF")

    def _span(self) -> str:
        return (
            f"the kernel's data (0x{kernel_base(self.memory) or USUAL:x}-0x{STACK:x}) and stack (0x{STACK:x}-0x{END:x})"
        )


def _finding(
    kind: str, match: Match, how: str, certain: bool, matches: list[Match] | None = None
) -> tuple[Located, Generation | None]:
    evidence = match.evidence
    others = [f"0x{other.address:08x}" for other in matches or () if other is not match]
    if others:
        evidence += f"; others like it are at {', '.join(others[:4])}"
    confidence = "certain" if certain else "likely"
    return Located(kind, Address(match.address), how, confidence, evidence), match.generation


def _is_dead(address: int, cpu: Cpu | None) -> bool:
    """Is it in a frame that has been left?"""
    return cpu is not None and STACK <= address < cpu.esp <= END


def _best(window: Window, matches: list[Match]) -> tuple[Match, bool]:
    """The one most probably in use, and whether no other could be meant.

    A kernel hands its records to functions, so the address of one in use stands on the stack as an argument;
    of two, the one in the outer frame, which is higher, outlives the other.
    """
    words = window.words[(STACK - window.start) // 4 :]
    ranked = sorted(
        matches, key=lambda match: (match.certain, words.count(match.address) > 0, match.address), reverse=True
    )
    return ranked[0], len(matches) == 1
