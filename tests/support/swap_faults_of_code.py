"""Faults of the publishing store, and of the code that is published."""

from __future__ import annotations

import hashlib
import struct

from swap_fault import FRAME, NAME, Faults, published, replaced
from swap_tables import SwapTables

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.modules.placed import read_parts

FAULTS = Faults()
fault, code = FAULTS.of, FAULTS.code

# The publishing store.


@fault("the store is torn", "code_pointers", "published")
def _torn(tables: SwapTables) -> None:
    # Two versions whose addresses differ in both halves.
    tables.slot("sum", tables.version("sum", 3).entry & 0xFFFF | tables.version("sum", 0).entry + 0x10000 & 0xFFFF0000)


@fault("the store is skipped", "published")
def _skipped(tables: SwapTables) -> None:
    tables.slot(NAME, replaced(tables).entry)


@fault("the store goes past the slot", "swap_events")
def _beside(tables: SwapTables) -> None:
    events = tables.events()
    event = events[tables.find(events, "publish", published(tables))]
    event["arg"] = (event["arg"][0] + 4, *event["arg"][1:])
    tables.rewrite(events)


@fault("the slot is not aligned", "code_pointers")
def _misaligned(tables: SwapTables) -> None:
    slot = tables.functions[NAME].slot + 2
    tables.set_function(NAME, slot=slot)
    tables.word(slot, published(tables).entry)


@fault("the target is in the middle of a version", "code_pointers", "published")
def _middle(tables: SwapTables) -> None:
    tables.slot(NAME, published(tables).entry + 5)


@fault("the target is the code of another function", "code_pointers", "published")
def _other(tables: SwapTables) -> None:
    tables.slot(NAME, tables.version("sum", 3).entry)


@fault("the target is outside of the pools", "code_pointers", "published")
def _nowhere(tables: SwapTables) -> None:
    tables.slot(NAME, 0x12345678)


@fault("the target is freed", "code_blocks")
def _freed(tables: SwapTables) -> None:
    address = published(tables).code
    tables.set(tables.block_record(address), "bf_block", state=layouts.const("BF_BLOCK_FREE"), owner=0, owner_kind=0)
    tables.set(address - 16, "block_header", is_free=1)


@fault("it is published before its code is written", "swap_events")
def _early(tables: SwapTables) -> None:
    events = tables.events()
    emit, publish = (tables.find(events, kind, published(tables)) for kind in ("emit", "publish"))
    moved = {name: events[emit][name] for name in ("type", "id", "arg")}
    events[emit] |= {name: events[publish][name] for name in ("type", "id", "arg")}
    events[publish] |= moved
    tables.rewrite(events)


@fault("it is published and never executed", "published")
def _never(tables: SwapTables) -> None:
    tables.set_version(published(tables), tsc_first=0)
    events = tables.events()
    events[tables.find(events, "first_execution", published(tables))]["type"] = layouts.const("BF_EVENT_MARK")
    tables.rewrite(events)


# The bytes.


@fault("the recorded CRC is wrong", "code_crc")
def _crc(tables: SwapTables) -> None:
    tables.set_version(published(tables), code_crc=0xDEADBEEF)


@fault("a byte is patched", "code_crc")
def _patched(tables: SwapTables) -> None:
    at = published(tables).code + 20
    tables.copy.write(at, bytes([tables.copy.ram[at] ^ 0x10]), "code")


@fault("the buffer holds stale code", "code_origin")
def _stale(tables: SwapTables) -> None:
    old = tables.version("quicksort", 1)
    new = tables.version("quicksort", 3)
    tables.emit(new, tables.copy.read(old.code, old.code_size, "code"), by_host=False)


@fault("half of the code is copied", "code_origin")
def _half(tables: SwapTables) -> None:
    version = published(tables)
    size = version.code_size // 2
    code = tables.copy.read(version.code, size, "code")
    tables.emit(version, code + bytes(version.code_size - size), by_host=False)


def relocated(tables: SwapTables) -> tuple[Version, int]:
    """A published version made from a cached image, and the offset of a relocated word in its code."""
    for slot in tables.cached:
        image = read_parts(tables.copy.read(slot.image, slot.image_size, "image"))
        version = tables.version(slot.name, slot.level)
        offsets = [at for at, base in image.relocations if base != "code" and at < len(image.code)] if image else []
        if version.state == "published" and offsets:
            return version, offsets[0]
    raise AssertionError("no version has relocations")


def shifted(tables: SwapTables, *, by_host: bool) -> None:
    version, at = relocated(tables)
    data = bytearray(tables.copy.read(version.code, version.code_size, "code"))
    (value,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, value + 0x100000)
    tables.emit(version, bytes(data), by_host=by_host)


@fault("a relocation is not the right one", "code_origin")
def _relocation(tables: SwapTables) -> None:
    shifted(tables, by_host=False)


code("code uses memory that is not its own", b"\xa1\x00\x00\x30\x00", "code_targets")
code("code calls what is no export", b"\xe8\x00\x10\x00\x00", "code_targets")
code("code jumps out of itself", FRAME + b"\x5d\xe9\x00\x10\x00\x00", "code_targets", whole=True)


@fault("read-only data is damaged", "code_origin")
def _rodata(tables: SwapTables) -> None:
    version = tables.version("fft_1d", 3)
    tables.copy.write(version.rodata + 8, b"\xff\x00\xff", "read-only data")


@fault("a module's code is damaged", "code_origin")
def _module(tables: SwapTables) -> None:
    raw = layouts.unpack("bf_module_image", tables.copy.read(tables.root.module_images, 64, "module image"))
    tables.copy.write(raw.code + 9, b"\x90\x90", "code of a module")


@fault("the cache has the image of another tier", "code_origin")
def _cached(tables: SwapTables) -> None:
    slot = tables.cached[-1]
    image = bytearray(tables.copy.read(slot.image, slot.image_size, "image"))
    header = layouts.unpack("module_header", bytes(image[: layouts.size("module_header")]))
    end = layouts.size("module_header") + header.code_size
    at = end - layouts.size("bf_module_tail") + layouts.offset("bf_module_tail", "tier")
    image[at] = 4 if image[at] != 4 else 1
    image[-32:] = hashlib.sha256(image[:-32]).digest()
    tables.copy.write(slot.image, bytes(image), "image")


# What a call leaves.

code("EBX is not kept", b"\xbb\x01\x00\x00\x00\x89\xd8", "registers_kept")
code("ESI is restored from the wrong place", b"\x53\x56\xbe\x01\x00\x00\x00\x5b\x5e", "calls_kept")
code("EBP is not restored", FRAME + b"\x31\xc0\x59\xc3", "calls_kept", whole=True)
code("the stack is too deep at the return", FRAME + b"\x50\x31\xc0\x5d\xc3", "calls_kept", whole=True)
code("the stack grows in a loop", b"\xb9\x05\x00\x00\x00\x50\x49\x75\xfc", "calls_kept")
code("the return leaves the stack too high", FRAME + b"\x83\xc4\x04\x5d\xc3", "calls_kept", whole=True)
code("the direction flag stays set", b"\xfd\x31\xc0", "calls_kept")
code("a value stays on the x87 stack", b"\xd9\xe8\x31\xc0", "calls_kept")
code("the x87 stack loses its caller's value", b"\xdd\xd8\x31\xc0", "calls_kept")
code("the x87 control word is changed", b"\x68\x7f\x03\x00\x00\xd9\x2c\x24\x83\xc4\x04", "calls_kept")
code("MMX is left in use", b"\x0f\x6e\xc0\x31\xc0", "calls_kept")
code("MXCSR is changed", b"\x68\x80\x1f\x00\x00\x0f\xae\x14\x24\x83\xc4\x04", "calls_kept")

# Instructions.

code("an instruction is undefined", b"\x0f\x0b", "instructions")
code("bytes are no instruction", b"\x0f\xff\xff\xff", "instructions")
code("an instruction is privileged", b"\xfa", "instructions")
code("an instruction reaches a port", b"\xe6\x80", "instructions")
code("an instruction writes a control register", b"\x0f\x22\xc0", "instructions")
code("an instruction needs SSE, which its version does not name", b"\x0f\x28\xc1", "instructions")
code("an instruction needs AVX, which is off", b"\xc5\xfc\x28\xc1", "instructions")
