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
from bareflow_gdb.guest.base.values import Address, clean
from bareflow_gdb.guest.code import code_diff
from bareflow_gdb.guest.code.jit_code import CodeName, JitCode, code_at, named
from bareflow_gdb.guest.kernel import Kernel

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
    kernel: Kernel,
    place: CodeName | int,
    bits: int = 32,
    size: int | None = None,
    name: Name | None = None,
) -> Listing:
    """JIT code by its name, or the code at an address; raises BareflowError.

    `name` says what else is known of an address, as a debugger's symbols do.
    """
    if isinstance(place, CodeName):
        names = _Names(kernel, name, place.function)
        return _listing(kernel, named(kernel.jit_code, place), names, bits)
    address = place
    if not 0 <= address < 1 << 32:
        raise UsageError(f"{address} is not a 32-bit address")
    names = _Names(kernel, name, "", address)
    code = code_at(names.codes, address)
    if code is not None and size is None and bits == 32:
        return _listing(kernel, code, names, bits, at=address - code.code)
    wanted = min(size or DEFAULT_BYTES, LONGEST)
    title = names.of(address) or f"0x{address:08x}"
    return _decode(kernel, title, None, address, wanted, names, bits, 0)


def compare(kernel: Kernel, function: str, old: int, new: int, name: Name | None = None) -> Difference:
    """Two tiers of a function side by side; raises UsageError when one is not in memory."""
    names = _Names(kernel, name, function)
    sides = [named(kernel.jit_code, CodeName(function, level)) for level in (old, new)]
    listings = [_listing(kernel, side, names, 32) for side in sides]
    plain = [
        code_diff.disassemble(
            _emitted(side, kernel.memory.read(side.code, side.size, f"code of {side.title}")), side.code
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


def _listing(kernel: Kernel, code: JitCode, names: _Names, bits: int, at: int | None = None) -> Listing:
    return _decode(kernel, code.title, code, code.code, code.size, names, bits, at)


def _decode(
    kernel: Kernel,
    title: str,
    code: JitCode | None,
    address: int,
    size: int,
    names: _Names,
    bits: int,
    at: int | None,
) -> Listing:
    data = kernel.memory.read(address, size, f"code of {title}")
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


class _Names:
    """What addresses are called: exports, code pointers, shared data, JIT code; then what a debugger knows."""

    def __init__(self, kernel: Kernel, other: Name | None, function: str, address: int | None = None) -> None:
        self.problems: list[str] = []
        self.codes: tuple[JitCode, ...] = ()
        self._other = other
        self._function = function
        self._address = address
        self._spans: list[tuple[int, int, str]] = []
        for read in (self._read_codes, self._read_exports, self._read_data):
            try:
                read(kernel)
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

    def _read_codes(self, kernel: Kernel) -> None:
        self.codes = kernel.jit_code()
        for code in self.codes:
            self._spans.append((code.code, code.size, code.title))
        slots = {code.slot: code.function for code in self.codes if code.slot}
        self._spans += [(slot, 4, f"code pointer of {function}") for slot, function in slots.items()]

    def _read_exports(self, kernel: Kernel) -> None:
        root = kernel.root
        if root is not None and root.exports:
            self._symbols(kernel, root.exports, root.export_count, "export table")

    def _read_data(self, kernel: Kernel) -> None:
        """The shared data of the function that is listed."""
        holding = code_at(self.codes, self._address) if self._address is not None else None
        name = holding.function if holding else self._function
        if kernel.root is None:
            return
        for function in kernel.functions():
            if function.symbols and function.name == name:
                self._symbols(kernel, function.symbols, function.symbol_count, f"symbols of {name}")

    def _symbols(self, kernel: Kernel, address: int, count: int, what: str) -> None:
        for raw in many(kernel.memory, "bf_symbol", address, min(count, MOST_SYMBOLS), what):
            self._spans.append((raw.address, raw.size, clean(raw.name)))
