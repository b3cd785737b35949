"""What bytes go to the guest? Links a compiled object for the addresses at which it will run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.recompile import machine_code
from bareflow_gdb.recompile.objects import Area, place, read_object, relocate, size_anywhere, undefined
from bareflow_gdb.recompile.refusal import LinkError


@dataclass(frozen=True)
class Room:
    """Where the guest made room: addresses, and capacities in bytes."""

    code: int
    code_capacity: int
    rodata: int
    rodata_capacity: int


@dataclass(frozen=True)
class NeedMore:
    """The room is too small; bytes needed at any address."""

    code: int
    rodata: int


@dataclass(frozen=True)
class Linked:
    """The bytes of one version, and what a debugger has to know of them."""

    code: bytes
    rodata: bytes
    entry_offset: int
    """Into the code."""
    sections: Mapping[str, int]
    """Name and address of each section, as `add-symbol-file -s` takes them."""
    data: bytes
    """The object."""
    vectors: frozenset[str]
    """Words of `enum bf_feature`: what its code needs."""
    fixed: Mapping[str, int]
    """The addresses of symbols outside its sections: shared variables, the kernel's exports."""


def link(
    data: bytes,
    entry: str,
    room: Room,
    shared: Mapping[str, GuestSymbol],
    exports: Mapping[str, int],
    vectors: Collection[str] = (),
) -> Linked | NeedMore:
    """Links an ELF32 i386 object; raises LinkError.

    `shared` is the function's writable data in the guest, `exports` the kernel's symbols by name, `vectors` what of
    `enum bf_feature` its code may have.
    """
    compiled = read_object(data)
    start = compiled.function(entry)
    used = machine_code.check(compiled, entry, vectors)
    writable = compiled.writable()
    for symbol in writable:
        known = shared.get(symbol.name)
        if known is None:
            names = ", ".join(sorted(shared)) or "none"
            raise LinkError(
                f"writable data {symbol.name} is not among the function's shared data ({names}); "
                "the bitcode is not the one that the module was built from"
            )
        if known.size != symbol.size:
            raise LinkError(
                f"writable data {symbol.name} has {symbol.size} bytes in the bitcode and {known.size} in the "
                "guest; the bitcode is not the one that the module was built from"
            )
    placed = place(compiled, room.code, room.rodata)
    code, rodata = (placed.images[area] for area in (Area.CODE, Area.RODATA))
    if len(code) > room.code_capacity or len(rodata) > room.rodata_capacity:
        return NeedMore(size_anywhere(compiled, Area.CODE), size_anywhere(compiled, Area.RODATA))
    addresses = {symbol.name: shared[symbol.name].address for symbol in writable}
    relocate(compiled, placed, addresses, exports)
    entry_offset = placed.offset(start)
    sections = {
        piece.name: placed.bases[piece.area] + placed.offsets[piece.index]
        for piece in compiled.pieces
        if piece.index in placed.offsets
    }
    fixed = addresses | {name: exports[name] for name in undefined(compiled)}
    return Linked(bytes(code), bytes(rodata), entry_offset, sections, data, used, fixed)
