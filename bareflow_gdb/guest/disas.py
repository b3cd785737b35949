"""What do the instructions of a function's tier do: which symbols, code pointers and data do they touch?

Read budget beyond the tables of functions.py: 1 packet per 2 KB of code, 1 to 2 for the export table, 1 to 3 for
the symbols of shared data.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.exports import GuestSymbol, read_exports, read_symbols
from bareflow_gdb.guest.base.values import NOWHERE, Address, checked_address
from bareflow_gdb.guest.code import code_diff
from bareflow_gdb.guest.code.jit_code import CodeName, JitCode, code_at, named
from bareflow_gdb.guest.code.prologue import RET
from bareflow_gdb.guest.code.remarks import Making
from bareflow_gdb.guest.code.source_lines import Place
from bareflow_gdb.guest.kernel import Kernel

DEFAULT_BYTES = 64
LONGEST = code_diff.LONGEST

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
    source: Place | None = None
    """Where it comes from, when that was asked for and is known."""


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
    making: Making | None = None
    """What LLVM said of it, when that was asked for."""
    source: tuple[str, ...] = ()
    """The lines of the source file that was given."""


@dataclass(frozen=True)
class Difference:
    """Two tiers of a function, aligned."""

    function: str
    old: Listing
    new: Listing
    rows: tuple[code_diff.Pair, ...]
    equal_instructions: int


def disassemble(
    kernel: Kernel, place: CodeName | int, bits: int = 32, size: int | None = None, name: Name | None = None
) -> Listing:
    """JIT code by its name, or the code at an address; raises BareflowError.

    `name` says what else is known of an address, as a debugger's symbols do.
    """
    if isinstance(place, CodeName):
        names = _Names(kernel, name, place.function)
        try:
            code = named(kernel.jit_code, place)
        except BareflowError:
            module = _module(kernel, place)
            if module is None:
                raise
            code = module
        return _listing(kernel, code, names)
    address = place
    checked_address(address)
    names = _Names(kernel, name, "", address)
    held = code_at(names.codes, address)
    if held is not None and size is None and bits == 32:
        return _listing(kernel, held, names, at=address - held.code)
    wanted = min(size or DEFAULT_BYTES, LONGEST)
    title = names.of(address) or f"0x{address:08x}"
    memory, note = kernel.at_code(address)
    data = memory.read(address, wanted, f"code of {title}")
    names.problems += [note] if note else []
    return _decode(title, None, address, data, names, bits, 0)


def _module(kernel: Kernel, place: CodeName) -> JitCode | None:
    """The code of a loaded module of that name, for what the adaptive JIT does not know; None when there is none."""
    if place.level is not None or place.version is not None:
        return None
    try:
        modules = kernel.modules().modules
    except BareflowError:
        return None
    module = next((one for one in modules if one.name == place.function and one.loaded and one.code), None)
    if module is None:
        return None
    size = min(module.code_size or LONGEST, LONGEST)
    if not module.image:
        # Its size is only claimed: to the first return, which is surely its own.
        size = kernel.memory.read(module.code, size, f"code of module {module.name}").find(RET) + 1 or DEFAULT_BYTES
    return ModuleCode(
        module.name, module.level or 0, None, module.code, size, module.code, NOWHERE, published=True, tsc_published=0
    )


@dataclass(frozen=True)
class ModuleCode(JitCode):
    """A module's own code, which the adaptive JIT did not make."""

    @property
    def title(self) -> str:
        return f"module {self.function}"


def compare(kernel: Kernel, function: str, old: int, new: int, name: Name | None = None) -> Difference:
    """Two tiers of a function side by side; raises UsageError when one is not in memory."""
    names = _Names(kernel, name, function)
    sides = [named(kernel.jit_code, CodeName(function, level)) for level in (old, new)]
    codes = [_code_of(kernel, side) for side in sides]
    rows = code_diff.align(*(code_diff.disassemble(code, side.code) for side, code in zip(sides, codes, strict=True)))
    old_side, new_side = (
        _decode(side.title, side, side.code, code, names, 32, None) for side, code in zip(sides, codes, strict=True)
    )
    return Difference(
        function=sides[0].function,
        old=old_side,
        new=new_side,
        rows=code_diff.pairs(rows),
        equal_instructions=sum(row.equal for row in rows),
    )


def _listing(kernel: Kernel, code: JitCode, names: _Names, bits: int = 32, at: int | None = None) -> Listing:
    return _decode(code.title, code, code.code, _code_of(kernel, code), names, bits, at)


def _decode(
    title: str, code: JitCode | None, address: int, data: bytes, names: _Names, bits: int, at: int | None
) -> Listing:
    return Listing(
        title=title,
        function=code.function if code else "",
        level=code.level if code else None,
        version=code.version if code else None,
        address=Address(address),
        size=len(data),
        bits=bits,
        at=at,
        lines=tuple(
            Line(
                address=Address(address + instruction.offset),
                offset=instruction.offset,
                code=instruction.code.hex(),
                text=instruction.text,
                note=", ".join(dict.fromkeys(filter(None, map(names.of, instruction.addresses)))),
            )
            for instruction in code_diff.disassemble(data, address, bits)
        ),
        problems=tuple(names.problems),
    )


def _code_of(kernel: Kernel, code: JitCode) -> bytes:
    """Without what follows the code: a stock kernel does not tell where it ends, at the last `ret` if not before."""
    data = kernel.memory.read(code.code, code.size, f"code of {code.title}")
    return data if code.version is not None else data[: data.rfind(RET) + 1] or data


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
        if root is not None:
            self._add(read_exports(kernel.memory, root))

    def _read_data(self, kernel: Kernel) -> None:
        """The shared data of the function that is listed."""
        holding = code_at(self.codes, self._address) if self._address is not None else None
        name = holding.function if holding else self._function
        if kernel.root is None:
            return
        for function in kernel.functions():
            if function.symbols and function.name == name:
                what = f"symbols of {name}"
                self._add(read_symbols(kernel.memory, function.symbols, function.symbol_count, what, self.problems))

    def _add(self, symbols: list[GuestSymbol]) -> None:
        self._spans += [(symbol.address, symbol.size, symbol.name) for symbol in symbols]
