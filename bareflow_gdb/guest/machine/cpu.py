"""In which state is the CPU: mode, flags, segments, descriptor tables, who handles which vector?

Read budget: registers 1 packet (QEMU's monitor), GDT 1, IDT 1 per 256 gates, names as in names.py, exception 1,
features 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.reading import filled
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.guest.machine.descriptors import ENTRY_BYTES, MOST_GATES, Descriptor, Gate, read_gates, read_gdt
from bareflow_gdb.guest.machine.exception import Registers, read_exception
from bareflow_gdb.guest.names.elf import KernelSymbols
from bareflow_gdb.guest.names.names import Names, Place
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.paging import Linear, is_paged, seen_by_code
from bareflow_gdb.memory.protocol import Memory

_EFLAGS = "CF - PF - AF - ZF SF TF IF DF OF - - NT - RF VM AC VIF VIP ID"
"""The flags from bit 0 on, `-` = none. Intel SDM volume 1, 3.4.3; the control registers: volume 3A, 2.5."""
_CR0 = "PE MP EM TS ET NE - - - - - - - - - - WP - AM - - - - - - - - - - NW CD PG"
_CR4 = "VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP - - - - FSGSBASE - OSXSAVE - SMEP SMAP"
_PE, _PG, _VM = 1 << 0, 1 << 31, 1 << 17
PAGED = "paging is on: addresses of code, stack and descriptor tables are linear, those of records physical"
_REAL_MODE_LIMITS = (0x3FF, 0xFFFF)
"""Of the BIOS's table, and as a reset leaves it (volume 3A, 9.1.1)."""
_RESET_VECTOR = 0xFFFFFFF0
_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs", "ldt", "tr")
IDT_SYMBOL = "idt"


@dataclass(frozen=True)
class Segment:
    """A segment register with its hidden part."""

    name: str
    selector: Word
    base: Address
    limit: Word


@dataclass(frozen=True)
class Cpu:
    """The first CPU; `registers` is None when this memory does not hold them."""

    mode: str
    """"real", "protected", "protected with paging", "virtual 8086", "unknown"."""
    registers: Registers | None
    place: Place | None
    """Where EIP is."""
    eflags: tuple[str, ...]
    cr0: tuple[str, ...]
    cr4: tuple[str, ...]
    segments: tuple[Segment, ...]
    gdt_base: Address
    gdt_bytes: int
    gdt: tuple[Descriptor, ...]
    idt_base: Address
    idt_bytes: int
    idt_found_by: str
    """"register", "symbol", "" = not found."""
    gates: tuple[Gate, ...]
    gates_absent: int
    vectors: tuple[str, ...] | None
    """Vector instructions that the CPU has and the kernel has switched on; None = the kernel does not say."""
    exception: str | None
    """The last one that the kernel took, "" = none; None = the kernel keeps no record of it."""
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def read_cpu(memory: Memory, root: Root | None, names: Names) -> Cpu:
    """Never raises for a guest, however early; what cannot be told is in `problems` and `notes`."""
    problems: list[str] = []
    notes: list[str] = []
    raw = read_registers(memory, notes)
    registers = named_registers(raw) if raw else None
    mode = mode_of(raw) if raw else "unknown"
    gdt = raw.segments["gdt"] if raw else None
    if raw is not None and is_paged(raw):
        names.under(raw)
        notes.append(f"{PAGED} (CR3 0x{raw.control['cr3']:08x})")
    base, size, how = _idt_place(raw, names.symbols)
    gates: tuple[Gate, ...] = ()
    absent = 0
    if mode == "real":
        notes.append(f"real mode: no IDT, but {min(size // 4, MOST_GATES)} vectors at 0x{base:08x}")
    elif raw is not None and (lacks := no_idt(raw)) is not None:
        problems.append(str(lacks))
    elif how:
        gates, absent = _read_idt(table_memory(memory, raw, base), base, size, names, problems)
    else:
        notes.append("where the IDT is cannot be known: no registers, and no symbol `idt`")
    protected = mode.startswith("protected")
    gdt_memory = table_memory(memory, raw, gdt.base) if gdt else memory
    return Cpu(
        mode=mode,
        registers=registers,
        place=names.place(raw.linear_eip) if raw else None,
        eflags=_bits(raw.general["eflags"] if raw else 0, _EFLAGS),
        cr0=_bits(raw.control["cr0"] if raw else 0, _CR0),
        cr4=_bits(raw.control["cr4"] if raw else 0, _CR4),
        segments=_segments(raw) if raw else (),
        gdt_base=Address(gdt.base if gdt else 0),
        gdt_bytes=gdt.limit + 1 if gdt else 0,
        gdt=read_gdt(gdt_memory, gdt.base, gdt.limit + 1, problems) if gdt and protected else (),
        idt_base=Address(base),
        idt_bytes=size,
        idt_found_by=how,
        gates=gates,
        gates_absent=absent,
        vectors=_vectors(memory, root),
        exception=_exception(memory, root, notes),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def read_registers(memory: Memory, notes: list[str]) -> CpuRegisters | None:
    """The registers, or None and the reason in `notes`."""
    try:
        return memory.cpu()
    except BareflowError as error:
        notes.append(f"no registers: {error}")
        return None


def named_registers(raw: CpuRegisters) -> Registers:
    """The record that the exception's has too."""
    return filled(Registers, raw, cs=raw.segments["cs"].selector, **raw.general, **raw.control)


def mode_of(raw: CpuRegisters) -> str:
    """The CPU's mode by CR0 and EFLAGS (Intel SDM volume 3A, 2.2)."""
    if not raw.control["cr0"] & _PE:
        return "real"
    if raw.general["eflags"] & _VM:
        return "virtual 8086"
    return "protected with paging" if raw.control["cr0"] & _PG else "protected"


def foreign_mode(memory: Memory) -> str:
    """What the CPU's mode says of a kernel that is none of ours, as a sentence; "" = nothing.

    Not asked where that would stop a running guest.
    """
    if memory.asking_stops:
        return ""
    try:
        raw = memory.cpu()
    except BadData as error:
        return str(error)
    except BareflowError:
        return ""
    if not is_paged(raw):
        return ""
    return "paging is on, which no BareFlow kernel uses: `cpu`, `stack`, `disas` and `identify` take linear addresses"


def table_memory(memory: Memory, raw: CpuRegisters | None, base: int) -> Memory:
    """Where the descriptor table at `base` is read: through the page tables, when they map it."""
    seen = seen_by_code(memory, raw)
    return seen if not isinstance(seen, Linear) or seen.physical(base) is not None else memory


def at_reset(memory: Memory) -> bool:
    """Has the CPU not executed one instruction since it was reset? Not asked where that would stop a running guest."""
    if memory.asking_stops:
        return False
    try:
        raw = memory.cpu()
    except BareflowError:
        return False
    return mode_of(raw) == "real" and raw.linear_eip == _RESET_VECTOR


def interrupts_on(raw: CpuRegisters) -> bool:
    """EFLAGS.IF."""
    return bool(raw.general["eflags"] & 1 << 9)


@dataclass(frozen=True)
class NoIdt:
    """A CPU in protected mode whose IDTR still has what real mode begins with."""

    what: str
    evidence: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.what}: {self.evidence}; {self.consequence}"


def no_idt(raw: CpuRegisters) -> NoIdt | None:
    """What to say when none was loaded; None = one was, or the CPU is in real mode."""
    table = raw.segments["idt"]
    if mode_of(raw) == "real" or table.base or table.limit not in _REAL_MODE_LIMITS:
        return None
    limit = f"IDTR still has base 0 and limit 0x{table.limit:x} of real mode, where the BIOS's vectors are"
    return NoIdt("no IDT is loaded", limit, "any exception resets the machine")


def idt_of(memory: Memory, symbols: KernelSymbols, notes: list[str]) -> tuple[CpuRegisters | None, int, int]:
    """Registers, and the IDT's address and bytes, 0 when it cannot be told."""
    raw = read_registers(memory, notes)
    if raw is not None and (lacks := no_idt(raw)) is not None:
        notes.append(str(lacks))
        return raw, 0, 0
    base, size, how = _idt_place(raw, symbols)
    return (raw, base, size) if how else (raw, 0, 0)


def _idt_place(raw: CpuRegisters | None, symbols: KernelSymbols) -> tuple[int, int, str]:
    if raw is not None:
        return raw.segments["idt"].base, raw.segments["idt"].limit + 1, "register"
    address = symbols.by_name.get(IDT_SYMBOL)
    if address is None:
        return 0, 0, ""
    symbol = symbols.at(address)
    return address, (symbol.size if symbol else 0) or MOST_GATES * ENTRY_BYTES, "symbol"


def _read_idt(memory: Memory, base: int, size: int, names: Names, problems: list[str]) -> tuple[tuple[Gate, ...], int]:
    if size > MOST_GATES * ENTRY_BYTES:
        problems.append(f"the IDT claims {size} bytes, more than {MOST_GATES} gates: only those are shown")
    try:
        gates = read_gates(memory, base, size, names)
    except BareflowError as error:
        problems.append(f"the IDT cannot be read: {error}")
        return (), 0
    problems += [f"vector {gate.vector} ({gate.meaning}): {gate.problem}" for gate in gates if gate.problem]
    if len(gates) < 32:
        problems.append(f"{len(gates)} gates are present: some exceptions have no handler and reset the machine")
    return tuple(gates), min(size // ENTRY_BYTES, MOST_GATES) - len(gates)


def _segments(raw: CpuRegisters) -> tuple[Segment, ...]:
    return tuple(
        Segment(name, Word(part.selector), Address(part.base), Word(part.limit))
        for name in _SEGMENTS
        if (part := raw.segments.get(name)) is not None
    )


def _bits(value: int, names: str) -> tuple[str, ...]:
    return tuple(name for bit, name in enumerate(names.split()) if value & 1 << bit and name != "-")


def _vectors(memory: Memory, root: Root | None) -> tuple[str, ...] | None:
    if root is None or not root.status or not root.tells(4):
        return None
    try:
        counters = read_counters(memory, root)
    except BareflowError:
        return None
    # Before the CPU's speed is measured the kernel has not come to its features either.
    return counters.cpu_features if counters.tsc_hz else None


def _exception(memory: Memory, root: Root | None, notes: list[str]) -> str | None:
    if root is None or not root.exception:
        return None
    try:
        record = read_exception(memory, root)
    except BareflowError as error:
        notes.append(str(error))
        return None
    return f"{record.name} at 0x{record.registers.eip:08x}" if record.count else ""
