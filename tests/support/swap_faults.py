"""Which faults can a swap have? Each as what a faulty kernel, compiler or host leaves in memory, events and log."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from swap_tables import SwapTables

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.modules.placed import read_parts

NAME = "primes"
FRAME, END = b"\x55\x89\xe5", b"\x5d\xc3"
"""push ebp; mov ebp, esp … pop ebp; ret"""


@dataclass(frozen=True)
class Fault:
    """`detectors`: the checks that must find it; others may, too."""

    name: str
    detectors: tuple[str, ...]
    inject: Callable[[SwapTables], None]


FAULTS: list[Fault] = []


def fault(name: str, *detectors: str) -> Callable[[Callable[[SwapTables], None]], Callable[[SwapTables], None]]:
    def add(inject: Callable[[SwapTables], None]) -> Callable[[SwapTables], None]:
        FAULTS.append(Fault(name, detectors, inject))
        return inject

    return add


def code(name: str, body: bytes, *detectors: str, whole: bool = False) -> None:
    """A fault of the code that a compiler made: it is emitted and recorded as it should be."""

    def inject(tables: SwapTables) -> None:
        tables.emit(published(tables), body if whole else FRAME + body + END)

    FAULTS.append(Fault(name, detectors, inject))


def published(tables: SwapTables) -> Version:
    return tables.version(NAME, 3)


def replaced(tables: SwapTables) -> Version:
    return tables.version(NAME, 2)


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
code("an instruction needs SSE, which is off", b"\x0f\x28\xc1", "instructions")
code("an instruction needs AVX, which is off", b"\xc5\xfc\x28\xc1", "instructions")


# Tiers and thresholds.


@fault("the version table has another tier", "swap_records", "swap_events")
def _tier(tables: SwapTables) -> None:
    tables.set_version(published(tables), level=2)


@fault("a threshold leads down", "swap_records")
def _down(tables: SwapTables) -> None:
    version = published(tables)
    tables.set_version(version, level=1)
    tables.set_function(NAME, level=1)
    tables.set_entry(NAME, compiled_level=1, code_v1=version.entry)
    tables.set_profile(NAME, opt_level=1)
    events = tables.events()
    event = events[tables.find(events, "publish", version)]
    event["arg"] = (*event["arg"][:3], event["arg"][3] & ~7 | 1)
    tables.rewrite(events)


@fault("a threshold is off by one", "thresholds")
def _threshold(tables: SwapTables) -> None:
    version = published(tables)
    index = (tables.record_of(version) - tables.root.version_table) // layouts.size("bf_version")
    at = tables.root.version_causes + index * layouts.size("bf_version_cause")
    tables.set(at, "bf_version_cause", calls=version.asked_at_call + 1)


@fault("the profiler is not told of the swap", "swap_records")
def _profiler(tables: SwapTables) -> None:
    tables.set_profile(NAME, address=replaced(tables).entry, opt_level=2)


@fault("the JIT's entry is not told of the swap", "swap_records")
def _entry(tables: SwapTables) -> None:
    tables.set_entry(NAME, compiled_level=2, code_v3=replaced(tables).entry)


@fault("two versions of a function are published", "swap_records", "swap_events")
def _two(tables: SwapTables) -> None:
    tables.set_version(replaced(tables), state=layouts.const("BF_VERSION_PUBLISHED"))


@fault("a version's number is used again", "swap_records")
def _number(tables: SwapTables) -> None:
    tables.set_version(tables.version("sum", 1), number=published(tables).number)


# Events, counters, log.


@fault("an event is lost", "swap_events")
def _lost(tables: SwapTables) -> None:
    events = tables.events()
    del events[tables.find(events, "publish", published(tables))]
    tables.rewrite(events)


@fault("an event is overwritten", "ring_records")
def _overwritten(tables: SwapTables) -> None:
    at = layouts.const("BF_RING0_RECORDS") + 1000 * 32
    tables.copy.write(at, b"\xff" * 32, "event")


@fault("the ring's header is overwritten", "ring_records")
def _header(tables: SwapTables) -> None:
    tables.set(tables.root.rings[0], "bf_ring_header", magic=0)


@fault("a swap is made twice", "swap_events")
def _double(tables: SwapTables) -> None:
    events = tables.events()
    at = tables.find(events, "publish", published(tables))
    tables.rewrite([*events[: at + 1], *events[at:]])


@fault("a swap is lost between two others", "swap_events")
def _between(tables: SwapTables) -> None:
    events = tables.events()
    event = events[tables.find(events, "publish", published(tables))]
    event["arg"] = (event["arg"][0], tables.version(NAME, 0).entry, *event["arg"][2:])
    tables.rewrite(events)


@fault("a swap is not counted", "counted", "swap_events")
def _counted(tables: SwapTables) -> None:
    kept = tables.root.status + layouts.offset("bf_status", "swap_count")
    tables.word(kept, struct.unpack("<I", tables.copy.read(kept, 4, "count"))[0] - 1)


@fault("a swap is not printed", "counted", "swap_log")
def _printed(tables: SwapTables) -> None:
    lines = tables.copy.serial.splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if line.startswith(f"[RECOMPILE] {NAME}: O2 -> O3"))
    end = next(index for index in range(at, len(lines)) if lines[index].startswith("[ATOMIC-SWAP]"))
    del lines[at : end + 1]
    tables.copy.serial = "".join(lines)


@fault("another tier is printed than is published", "swap_log")
def _misprinted(tables: SwapTables) -> None:
    text = f"[RECOMPILE] {NAME}: O2 -> O3"
    assert text in tables.copy.serial
    tables.copy.serial = tables.copy.serial.replace(text, text.replace("O3", "O1"))


# Buffers.


@fault("two versions share a buffer", "code_blocks")
def _shared(tables: SwapTables) -> None:
    old = replaced(tables)
    tables.set_version(published(tables), code=old.code, entry=old.entry)
    tables.slot(NAME, old.entry)


@fault("code is written over a version that is not freed", "code_reuse")
def _aba(tables: SwapTables) -> None:
    old, new = tables.version("sum", 1), published(tables)
    events = tables.events()
    event = events[tables.find(events, "emit", new)]
    event["arg"] = (old.code, *event["arg"][1:])
    tables.rewrite(events)


@fault("a version is freed while it is published", "code_reuse", "swap_events")
def _freed_early(tables: SwapTables) -> None:
    version = published(tables)
    events = tables.events()
    kind = layouts.const("BF_EVENT_FREE")
    arguments = (version.number, version.code, version.code_size, layouts.const("BF_REASON_REPLACED"))
    last = events[-1]["tsc"]
    tables.rewrite([*events, {"tsc": last, "seq": 0, "type": kind, "cpu": 0, "id": version.function, "arg": arguments}])


@fault("a replaced version is entered again", "old_versions")
def _entered(tables: SwapTables) -> None:
    version = replaced(tables)
    events = tables.events()
    kind, last = layouts.const("BF_EVENT_CALL"), events[-1]["tsc"]
    call = {"tsc": last, "seq": 0, "type": kind, "cpu": 0, "id": version.function, "arg": (version.number, 1, 2, 3)}
    tables.rewrite([*events, call])


@fault("a return address leads into freed code", "old_versions")
def _return(tables: SwapTables) -> None:
    version = replaced(tables)
    tables.set_version(version, state=layouts.const("BF_VERSION_FREED"))
    tables.set(tables.block_record(version.code), "bf_block", state=layouts.const("BF_BLOCK_FREE"))
    registers = tables.copy.registers
    frame = registers.general["ebp"] - 64
    tables.copy.write(frame, struct.pack("<II", registers.general["ebp"], version.code + 9), "stack")
    tables.copy.registers = replace(registers, general={**registers.general, "ebp": frame, "esp": frame - 16})


@fault("data lies among the code", "code_blocks")
def _data(tables: SwapTables) -> None:
    tables.set_version(tables.version("fft_1d", 3), rodata=tables.version("sum", 0).code)


@fault("a block's header is overwritten", "code_blocks")
def _block(tables: SwapTables) -> None:
    tables.set(published(tables).code - 16, "block_header", magic=0x12345678)
