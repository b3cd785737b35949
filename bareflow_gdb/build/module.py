"""How does one tier of a module become an image with header version 2? (Layout: abi/bareflow.h.)

    python -m bareflow_gdb.build.module --object primes.O2.o --name primes --entry primes_main \\
        --output primes.O2.mod

The image is relocatable: three areas (code, read-only data, writable data), and each word that holds an
address is listed with the area it points into. The loader must place each area at a multiple of 16.

Writable data exists once per module, whatever tier runs, so its layout must not depend on the tier. Three
rules make it so: it has external linkage (no optimiser may split, shrink or drop it; `build.wrap` and this
linker refuse statics), it is ordered by name, each symbol begins at a multiple of 16 (optimisers raise the
alignment of single variables). `--data-from` compares the result with another tier's image. Its initial bytes
may not point into code or read-only data: those belong to one version and go away with it.
"""

from __future__ import annotations

import itertools
import struct
import sys
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import tool
from bareflow_gdb.build.names import module_name
from bareflow_gdb.errors import UsageError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.guest.base.reading import filled
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.modules.judge import digest_is_right
from bareflow_gdb.recompile import machine_code, runtimes
from bareflow_gdb.recompile.objects import (
    LARGEST_AREA,
    R_386_32,
    Area,
    Compiled,
    Symbol,
    check_name,
    place,
    read_object,
    relocate,
    undefined,
)
from bareflow_gdb.recompile.refusal import LinkError

AREA_ALIGNMENT = 16
IMAGE_VERSION = 2


@dataclass(frozen=True)
class DataArea:
    """The writable data: initialised bytes, then `bss_size` zero bytes; each part ordered by name."""

    symbols: tuple[GuestSymbol, ...]
    """Their addresses are offsets into the area, until the loader has placed it."""
    initialised: bytes
    bss_size: int


@dataclass(frozen=True)
class Call:
    """How the run calls a module of one's own."""

    arguments: tuple[int, int]
    expected: int | None
    """The result for them; None: what the first call returns."""

    def encode(self) -> bytes:
        """`struct bf_module_call`; raises UsageError for a number that is not 32 bits wide."""
        for number in (*self.arguments, self.expected or 0):
            if not -(1 << 31) <= number < 1 << 31:
                raise UsageError(f"{number} is not an int32_t; give numbers from -2147483648 to 2147483647")
        return layouts.pack(
            "bf_module_call",
            arguments=list(self.arguments),
            expected=self.expected or 0,
            expected_known=int(self.expected is not None),
            magic=layouts.const("BF_MODULE_CALL_MAGIC"),
        )


@dataclass(frozen=True)
class ModuleImage:
    """A version-2 image taken apart again."""

    name: str
    entry: int
    """Into the code."""
    code: bytes
    rodata: bytes
    data: DataArea
    relocations: tuple[int, ...]


def lay_out_data(compiled: Compiled) -> DataArea:
    """Places every writable variable, initialised ones first, each kind by name."""
    initialised, zero = bytearray(), []
    symbols = []
    writable = compiled.writable()
    for symbol, following in itertools.zip_longest(writable, writable[1:]):
        check_name(symbol.name)
        if following is not None and symbol.name == following.name:
            raise LinkError(f"writable data {symbol.name} is defined twice; give each variable a name of its own")
        piece = symbol.piece
        if piece is None or symbol.size == 0 or symbol.value + symbol.size > len(piece.data):
            raise LinkError(f"writable data {symbol.name} has no size; define it in C")
        if piece.zero:
            zero.append(symbol)
            continue
        # Symbols may overlap, so that they need more than their section.
        _check_size(len(initialised) + symbol.size)
        initialised += bytes(-len(initialised) % AREA_ALIGNMENT)
        symbols.append(GuestSymbol(symbol.name, Address(len(initialised)), symbol.size))
        initialised += piece.data[symbol.value : symbol.value + symbol.size]
    end = len(initialised)
    for symbol in zero:
        end += -end % AREA_ALIGNMENT
        symbols.append(GuestSymbol(symbol.name, Address(end), symbol.size))
        end += symbol.size
        _check_size(end)
    for piece in compiled.pieces:
        if piece.area is Area.DATA and piece.alignment > AREA_ALIGNMENT:
            raise LinkError(
                f"{piece.name} wants alignment {piece.alignment}, the loader gives {AREA_ALIGNMENT}; lower it"
            )
    return DataArea(tuple(symbols), bytes(initialised), end - len(initialised))


def _check_size(size: int) -> None:
    if size > LARGEST_AREA:
        raise LinkError(f"the writable data needs {size:,} bytes, the guest gives {LARGEST_AREA:,}; make it smaller")


def link_module(
    object_bytes: bytes, name: str, entry: str, level: int | None = None, call: Call | None = None
) -> bytes:
    """The module image of a tier (None: it does not say which).

    Raises LinkError when the object cannot become one, UsageError for names and numbers that no image can hold.
    """
    module_name(name)
    compiled = read_object(object_bytes)
    missing = undefined(compiled)
    if missing:
        raise LinkError(runtimes.undefined(missing, "a module must define all that it uses"))
    entry_symbol = compiled.function(entry)
    machine_code.check(compiled, entry)
    data = lay_out_data(compiled)
    placed = place(compiled)
    offsets = {symbol.name: symbol.address for symbol in data.symbols}
    _refuse_cross_area_calls(compiled)
    fixups = relocate(compiled, placed, offsets, {})
    initialised, pointers = _relocate_data(compiled, data)

    code, rodata = placed.images[Area.CODE], placed.images[Area.RODATA]
    rodata_offset = _align(len(code))
    data_offset = _align(rodata_offset + len(rodata))
    symbols_offset = _align(data_offset + len(initialised))
    starts = {Area.CODE: 0, Area.RODATA: rodata_offset}
    words = [starts[fixup.area] + fixup.offset | _base(fixup.target) for fixup in fixups]
    words += [data_offset + pointer | _base(Area.DATA) for pointer in pointers]
    body = bytearray()
    for start, part in ((0, code), (rodata_offset, rodata), (data_offset, initialised), (symbols_offset, b"")):
        body += bytes(start - len(body)) + part
    for symbol in data.symbols:
        body += layouts.pack("bf_symbol", name=symbol.name.encode(), address=symbol.address, size=symbol.size)
    body += call.encode() if call else b""
    body += layouts.pack(
        "bf_module_tail",
        code_size=len(code),
        rodata_offset=rodata_offset,
        rodata_size=len(rodata),
        data_offset=data_offset,
        data_size=len(initialised),
        symbols_offset=symbols_offset,
        symbol_count=len(data.symbols),
        tier=0 if level is None else level + 1,
        magic=layouts.const("BF_MODULE_TAIL_MAGIC"),
    )
    header = layouts.pack(
        "module_header_t",
        magic=layouts.const("MODULE_MAGIC"),
        name=name.encode(),
        entry_point=layouts.size("module_header_t") + placed.offset(entry_symbol),
        code_size=len(body),
        version=IMAGE_VERSION,
    )
    image = header + body + struct.pack(f"<II{len(words)}I", data.bss_size, len(words), *sorted(words))
    return image + sha256(image).digest()


def read_module(image: bytes) -> ModuleImage:
    """Takes a version-2 image apart; raises LinkError when it is not a whole one."""
    header_size, tail_size = layouts.size("module_header_t"), layouts.size("bf_module_tail")
    if len(image) < header_size + tail_size + 40 or not digest_is_right(image):
        raise LinkError("not a whole module image of version 2: its SHA-256 does not match; build it again")
    header = layouts.unpack("module_header_t", image)
    body = image[header_size : header_size + header.code_size]
    tail = layouts.unpack("bf_module_tail", body[-tail_size:])
    if header.version != IMAGE_VERSION or tail.magic != layouts.const("BF_MODULE_TAIL_MAGIC"):
        raise LinkError("not a module image of version 2; build it with bareflow_gdb.build.module")
    end = header_size + len(body)
    bss_size, count = struct.unpack_from("<II", image, end)
    # 40 bytes: both counts and the digest.
    if len(body) != header.code_size or len(image) != end + 40 + 4 * count:
        raise LinkError(f"not a module image: {count:,} relocations and its parts have another size; build it again")
    for name in ("rodata", "data"):
        if getattr(tail, f"{name}_offset") + getattr(tail, f"{name}_size") > len(body):
            raise LinkError(f"not a module image: its {name} lies outside of it; build it again")
    if not 0 <= header.entry_point - header_size < tail.code_size <= len(body):
        raise LinkError("not a module image: its entry is not in its code; build it again")
    words = struct.unpack_from(f"<{count}I", image, end + 8)
    symbols = layouts.unpack_array("bf_symbol", body[tail.symbols_offset :], tail.symbol_count)
    return ModuleImage(
        name=clean(header.name),
        entry=header.entry_point - header_size,
        code=body[: tail.code_size],
        rodata=body[tail.rodata_offset : tail.rodata_offset + tail.rodata_size],
        data=DataArea(
            tuple(filled(GuestSymbol, raw, name=clean(raw.name)) for raw in symbols),
            body[tail.data_offset : tail.data_offset + tail.data_size],
            bss_size,
        ),
        relocations=words,
    )


def require_same_data(image: bytes, other: bytes, other_name: str) -> None:
    """Raises LinkError unless both tiers agree on the module's writable data."""
    mine, theirs = read_module(image).data, read_module(other).data
    if mine != theirs:
        raise LinkError(
            f"the writable data differs from that of {other_name} ({_describe(mine)} against "
            f"{_describe(theirs)}), but all tiers share one copy; build every tier from the same bitcode"
        )


def _describe(data: DataArea) -> str:
    names = ", ".join(f"{symbol.name}+{symbol.size}" for symbol in data.symbols)
    return names or "none"


def _relocate_data(compiled: Compiled, data: DataArea) -> tuple[bytes, list[int]]:
    """Fills in pointers between writable variables; returns the bytes and the offsets of those pointers."""
    image, pointers = bytearray(data.initialised), []
    offsets = {symbol.name: symbol.address for symbol in data.symbols}
    owners: dict[int, list[Symbol]] = defaultdict(list)
    for symbol in sorted(compiled.writable(), key=_value):
        if symbol.piece is not None:
            owners[symbol.piece.index].append(symbol)
    for relocation in compiled.relocations:
        if relocation.piece.area is not Area.DATA:
            continue
        candidates = owners[relocation.piece.index]
        owner = candidates[max(0, bisect_right(candidates, relocation.offset, key=_value) - 1)] if candidates else None
        if owner is None or relocation.piece.zero or not 0 <= relocation.offset - owner.value <= owner.size - 4:
            raise LinkError(f"a relocation of {relocation.piece.name} lies in no variable; compile the object again")
        if relocation.kind != R_386_32:
            raise LinkError(f"writable data {owner.name} begins with a distance; make it const, or set it at run time")
        if relocation.symbol.name not in offsets:
            raise LinkError(
                f"writable data {owner.name} begins with a pointer into code or read-only data, "
                "which go away with their version; make it const, or set it at run time"
            )
        offset = offsets[owner.name] + relocation.offset - owner.value
        (addend,) = struct.unpack_from("<I", image, offset)
        struct.pack_into("<I", image, offset, offsets[relocation.symbol.name] + addend & 0xFFFFFFFF)
        pointers.append(offset)
    return bytes(image), pointers


def _value(symbol: Symbol) -> int:
    return symbol.value


def _refuse_cross_area_calls(compiled: Compiled) -> None:
    """A relative word works only inside one area: the areas are placed apart."""
    for relocation in compiled.relocations:
        here, there = relocation.piece, relocation.symbol.piece
        if relocation.kind != R_386_32 and there is not None and here.area is not there.area:
            raise LinkError(
                f"{here.name} refers to {there.name} by distance (relocation type {relocation.kind}), "
                "but they are placed apart; compile with -fno-pic"
            )


def _base(area: Area | None) -> int:
    if area is None:
        raise LinkError("a word refers to a fixed address; a module must define all that it uses")
    return layouts.const(f"BF_RELOC_{area.name}") << layouts.const("BF_RELOC_BASE_SHIFT")


def _align(size: int) -> int:
    return size + -size % AREA_ALIGNMENT


def main(arguments: list[str] | None = None) -> int:
    parser = tool.parser("module", __doc__)
    parser.add_argument("--object", dest="input", type=Path, required=True, help="the tier's relocatable object")
    parser.add_argument("--name", required=True, help="the module's name")
    parser.add_argument("--entry", required=True, help="its entry function")
    parser.add_argument("--level", type=int, choices=range(4), help="the tier, 0 to 3, which the image then says")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data-from", type=Path, help="another tier's image, whose writable data must be the same")
    numbers = parser.add_argument_group("for a module that is not one of the kernel's own")
    numbers.add_argument("--arguments", type=int, nargs=2, metavar=("A", "B"), help="what the run calls it with (10 3)")
    numbers.add_argument("--expected", type=int, metavar="N", help="its result for them (what the first call returns)")
    return tool.make("module", parser.parse_args(arguments), _module)


def _module(options: tool.Options) -> bytes:
    if options.expected is not None and not options.arguments:
        raise UsageError("--expected is the result for --arguments A B; give both")
    call = Call(tuple(options.arguments), options.expected) if options.arguments else None
    image = link_module(tool.read_input(options.input), options.name, options.entry, options.level, call)
    if options.data_from:
        require_same_data(image, tool.read_input(options.data_from), options.data_from.name)
    return image


if __name__ == "__main__":
    sys.exit(main())
