"""What do the instructions of a function's tier do: which symbols, code pointers and data do they touch?

Read budget beyond the tables of functions.py: 1 packet per 2 KB of code, 1 to 2 for the export table, 1 to 3 for
the symbols of shared data.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, clean
from bareflow_gdb.guest.code import code_diff
from bareflow_gdb.guest.code.jit_code import JitCode, code_at, named, read_jit_code
from bareflow_gdb.guest.guest import Guest

DEFAULT_BYTES = 64
LONGEST = code_diff.LONGEST
MOST_SYMBOLS = 1024
_LEAST_ADDRESS = 0x600

Name = Callable[[int], str]


@dataclass(frozen=True)
class Line:
    """One instruction."""

    address: Address
    offset: int
    """From the start of the listing."""
    code: str
    """Its bytes, hexadecimal."""
    text: str
    note: str
    """What its operands refer to; "" = nothing that is known."""


@dataclass(frozen=True)
class Listing:
    """The instructions of one piece of code."""

    title: str
    function: str
    level: int | None
    version: int | None
    address: Address
    size: int
    bits: int
    at: int | None
    """Offset of the address that was asked for, when that is inside."""
    lines: tuple[Line, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two instructions that face each other; "" where one side has none."""

    old: str
    new: str
    equal: bool


@dataclass(frozen=True)
class Difference:
    """Two tiers of a function, aligned."""

    function: str
    old: Listing
    new: Listing
    rows: tuple[Pair, ...]
    equal_instructions: int


def disassemble(
    guest: Guest,
    place: str,
    level: int | None = None,
    bits: int = 32,
    size: int | None = None,
    name: Name | None = None,
) -> Listing:
    """A JIT function's code (published, or of one tier), or the code at an address; raises BareflowError.

    `name` tells what else is known of an address, as a debugger's symbols do.
    """
    address = _number(place)
    names = _Names(guest, name, place, address)
    if address is None:
        return _listing(guest, named(guest, place, level), names, bits)
    if level is not None:
        raise UsageError("a tier belongs to a function's name; give the name, or leave the tier out")
    code = code_at(names.codes, address)
    if code is not None and size is None and bits == 32:
        return _listing(guest, code, names, bits, at=address - code.code)
    wanted = min(size or DEFAULT_BYTES, LONGEST)
    title = names.of(address) or f"0x{address:08x}"
    return _decode(guest, title, None, address, wanted, names, bits, 0)


def compare(guest: Guest, function: str, old: int, new: int, name: Name | None = None) -> Difference:
    """Two tiers of a function side by side; raises UsageError when one is not in memory."""
    names = _Names(guest, name, function)
    sides = [named(guest, function, level) for level in (old, new)]
    listings = [_listing(guest, side, names, 32) for side in sides]
    plain = [
        code_diff.disassemble(
            _emitted(side, guest.memory.read(side.code, side.size, f"code of {side.title}")), side.code
        )
        for side in sides
    ]
    rows = code_diff.align(*plain)
    return Difference(
        function=sides[0].function,
        old=listings[0],
        new=listings[1],
        rows=tuple(Pair(_cell(row.old), _cell(row.new), row.equal) for row in rows),
        equal_instructions=sum(row.equal for row in rows),
    )


def _cell(instruction: code_diff.Instruction | None) -> str:
    return "" if instruction is None else f"+{instruction.offset:03x} {instruction.text}"


def _number(place: str) -> int | None:
    try:
        address = int(place, 0)
    except ValueError:
        return None
    if not 0 <= address < 1 << 32:
        raise UsageError(f"{place} is no 32-bit address")
    return address


def _listing(guest: Guest, code: JitCode, names: _Names, bits: int, at: int | None = None) -> Listing:
    return _decode(guest, code.title, code, code.code, code.size, names, bits, at)


def _decode(
    guest: Guest,
    title: str,
    code: JitCode | None,
    address: int,
    size: int,
    names: _Names,
    bits: int,
    at: int | None,
) -> Listing:
    data = guest.memory.read(address, size, f"code of {title}")
    if code is not None:
        data = _emitted(code, data)
    lines: list[Line] = []
    for instruction in _engine(bits).disasm(data, address):
        line = _line(instruction, address, len(data), names)
        # Compilers fill up to the next loop with many of them: one line says it all.
        if lines and line.text == "nop" and lines[-1].text.startswith("nop"):
            total = len(lines[-1].code) // 2 + 1
            line = dataclasses.replace(lines.pop(), code="90" * total, text=f"nop ({total} bytes)")
        lines.append(line)
    return Listing(
        title=title,
        function=code.function if code else "",
        level=code.level if code else None,
        version=code.version if code else None,
        address=Address(address),
        size=len(data),
        bits=bits,
        at=at,
        lines=tuple(lines),
        problems=tuple(names.problems),
    )


def _emitted(code: JitCode, data: bytes) -> bytes:
    """Without what follows the code: a stock kernel does not tell where it ends, at the last `ret` if not before."""
    return data if code.version is not None else data[: data.rfind(b"\xc3") + 1] or data


@cache
def _engine(bits: int) -> Any:
    import capstone

    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_16 if bits == 16 else capstone.CS_MODE_32)
    engine.detail = True
    engine.skipdata = True
    return engine


def _line(instruction: Any, start: int, size: int, names: _Names) -> Line:
    text = f"{instruction.mnemonic} {instruction.op_str}".rstrip()
    notes = []
    branches = instruction.mnemonic.startswith(("j", "call", "loop"))
    for value in _addresses(instruction):
        if branches and start <= value < start + size:
            text = f"{instruction.mnemonic} +0x{value - start:x}"
        elif note := names.of(value):
            notes.append(note)
    return Line(
        address=Address(instruction.address),
        offset=instruction.address - start,
        code=bytes(instruction.bytes).hex(),
        text=text,
        note=", ".join(dict.fromkeys(notes)),
    )


def _addresses(instruction: Any) -> Iterable[int]:
    """The operands that may be addresses: immediates and displacements."""
    from capstone import x86

    # Bytes that are no instruction have no operands.
    if instruction.id == 0:
        return
    for operand in instruction.operands:
        value = 0
        if operand.type == x86.X86_OP_IMM:
            value = operand.imm
        elif operand.type == x86.X86_OP_MEM:
            value = operand.mem.disp
        if (value & 0xFFFFFFFF) >= _LEAST_ADDRESS:
            yield value & 0xFFFFFFFF


def _root(guest: Guest) -> Root | None:
    """None on a stock kernel, which exports nothing."""
    try:
        return guest.root()
    except BareflowError:
        return None


class _Names:
    """What addresses are called: exports, code pointers, shared data, JIT code; then what a debugger knows."""

    def __init__(self, guest: Guest, other: Name | None, function: str, address: int | None = None) -> None:
        self.problems: list[str] = []
        self.codes: tuple[JitCode, ...] = ()
        self._other = other
        self._function = function
        self._address = address
        self._spans: list[tuple[int, int, str]] = []
        for read in (self._read_codes, self._read_exports, self._read_data):
            try:
                read(guest)
            except BareflowError as error:
                self.problems.append(str(error))
        self._spans.sort()
        self._starts = [start for start, _, _ in self._spans]

    def of(self, address: int) -> str:
        """`primes_sieve+0x10`; "" when nothing is known."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            start, size, name = self._spans[index]
            if address < start + max(size, 1):
                return name if address == start else f"{name}+0x{address - start:x}"
        return self._other(address) if self._other is not None else ""

    def _read_codes(self, guest: Guest) -> None:
        self.codes = read_jit_code(guest)
        for code in self.codes:
            self._spans.append((code.code, code.size, code.title))
        slots = {code.slot: code.function for code in self.codes if code.slot}
        self._spans += [(slot, 4, f"code pointer of {function}") for slot, function in slots.items()]

    def _read_exports(self, guest: Guest) -> None:
        root = _root(guest)
        if root is not None and root.exports:
            self._symbols(guest, root.exports, root.export_count, "export table")

    def _read_data(self, guest: Guest) -> None:
        """The shared data of the function that is listed."""
        holding = code_at(self.codes, self._address) if self._address is not None else None
        name = holding.function if holding else self._function
        if _root(guest) is None:
            return
        for function in guest.functions():
            if function.symbols and function.name == name:
                self._symbols(guest, function.symbols, function.symbol_count, f"symbols of {name}")

    def _symbols(self, guest: Guest, address: int, count: int, what: str) -> None:
        for raw in many(guest.memory, "bf_symbol", address, min(count, MOST_SYMBOLS), what):
            self._spans.append((raw.address, raw.size, clean(raw.name)))
