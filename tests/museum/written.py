"""Which defects are written into the memory of a guest, as a faulty kernel, loader or device would have left it?"""

from __future__ import annotations

import struct

from swap_tables import SwapTables

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.stock.search import JIT
from museum.exhibit import OURS, STOCK, Wing
from museum.memory import ALLOCATIONS, FRAGMENTATION, FREES, Scene

WING: Wing[Scene] = Wing()
PAIR = ("code", "data")
UNDERFLOWN = (4294967264, 4294967200)


def both(row: str, defect: str, says: str):  # type: ignore[no-untyped-def]
    """The same defect in both variants."""

    def kept(make):  # type: ignore[no-untyped-def]
        for variant in (OURS, STOCK):
            WING.add(row, defect, variant, says)(make)
        return make

    return kept


# Small addresses.


@both("18", "the CHS fallback loads to address 0", r"image was loaded to address 0")
def _loaded_to_0(scene: Scene, place: int) -> None:
    scene.write(0, scene.read(0x10000 + 0x2000 * place, 0x400 if place else 0x8000 - 0x500)[:0x400])


@both("", "a store through a null pointer", "interrupt vectors are overwritten: a store through a null pointer")
def _null(scene: Scene, place: int) -> None:
    scene.word((0x08, 0x1F4)[place], (1, 0x00012345)[place])


@both("7", "a module linked at 0 is not relocated", r"linked at 0 and was not relocated")
def _not_relocated(scene: Scene, place: int) -> None:
    module = [one for one in scene.kernel.modules().modules if one.code_size > 40][place]
    # mov [0x48c], eax; mov ecx, [0x90]
    body = (b"\xa3\x8c\x04\x00\x00", b"\x8b\x0c\x85\x90\x00\x00\x00")[place]
    scene.write(module.code, b"\x55\x89\xe5" + body + b"\x5d\xc3")
    for at in range(0x80, 0x80 + 1214 - 0x3C0, 8):
        scene.word(at, 0x00010000 + at)


@both("8", "a disk module's entry is stored raw", r"stored without its load address")
def _raw_entry(scene: Scene, place: int) -> None:
    address, _ = scene.kernel.module_table()
    size = layouts.size("module_profile")
    last = scene.kernel.modules().count - 1
    scene.word(address + (last, last - 1)[place] * size + layouts.offset("module_profile", "code_ptr"), 0x30)


@both("5", "modules of the image have no slot", r"modules in the kernel's image have no slot")
def _no_slot(scene: Scene, place: int) -> None:
    address, _ = scene.kernel.module_table()
    kept, size = (3, 2)[place], layouts.size("module_profile")
    scene.write(address + kept * size, bytes((layouts.const("MAX_MODULES") - kept) * size))
    scene.word(address + layouts.offset("module_manager", "num_modules"), kept)


# Descriptor tables and handlers.


@both("", "a wrong GDT entry", r"GDT entry of \w+ is wrong")
def _gdt(scene: Scene, place: int) -> None:
    at = scene.descriptor((0x10, 0x08)[place])
    # The data segment ends at 1 MiB; the code segment is no code any more.
    scene.write(at + (6, 5)[place], (b"\x4f", b"\x92")[place])


@both("", "a gate of the IDT leads nowhere", r"gate of vector \d+ .* is wrong")
def _gate(scene: Scene, place: int) -> None:
    scene.write(scene.gate((13, 32)[place]) + (2, 6)[place], (b"\x18\x00", b"\x0b\x00")[place])


@both("", "an interrupt clobbers a register", r"handler changes (EBX|ESI) of the code that it interrupts")
def _clobbers(scene: Scene, place: int) -> None:
    # Instead of the store that a stub begins with: mov ebx, 1, or xor esi, esi.
    for vector in range(32, 48) if place else range(48):
        scene.write(scene.handler(vector), (b"\xbb\x01\x00\x00\x00\x90\x90", b"\x31\xf6" + b"\x90" * 5)[place])


@both("", "vector state is lost over an interrupt", r"handler changes x87 and vector state")
def _state(scene: Scene, place: int) -> None:
    for vector in range(32, 48):
        # fninit, or pxor mm0, mm0
        scene.write(scene.handler(vector), (b"\xdb\xe3" + b"\x90" * 5, b"\x0f\xef\xc0" + b"\x90" * 4)[place])


# Pools.


@both("13", "the fragmentation statistic underflows", r"fragmentation statistic is .*underflowed")
def _fragmentation(scene: Scene, place: int) -> None:
    scene.word(scene.statistic(PAIR[place], FRAGMENTATION), UNDERFLOWN[place])


@both("", "a block is freed twice", r"freed twice")
def _freed_twice(scene: Scene, place: int) -> None:
    at = scene.statistic(("metadata", "code")[place], FREES)
    allocated = scene.statistic(("metadata", "code")[place], ALLOCATIONS)
    (frees,), (allocations,) = (struct.unpack("<I", scene.read(one, 4)) for one in (at, allocated))
    scene.word(at, (allocations + 1, frees + 1)[place])


@both("", "the free list is a circle", r"free list has a cycle")
def _circle(scene: Scene, place: int) -> None:
    block = scene.blocks(("metadata", "code")[place], "free")[-1]
    scene.word(block.start + layouts.offset("block_header", "next"), block.start)


@both("", "a JIT block runs over the header behind it", r"header at 0x\w+ has magic .*overwritten")
def _overrun(scene: Scene, place: int) -> None:
    block = scene.blocks("code", "used")[place]
    scene.write(block.end - 4, b"\x90\x90\xc3\xcc\x55\x89\xe5\x53\x56\x57"[: 10 - place])


@WING.add("11", "pools reach into each other", OURS, r"pool reaches into the \w+ pool")
def _pools_overlap(scene: Scene, place: int) -> None:
    at, pool = scene.pool(PAIR[place])
    scene.word(at + layouts.offset("memory_pool", "total_size"), pool.size * 4)


# Profiles.


@both("", "the profiler's counter overflows", r"overflowed 32 bits")
def _overflow(scene: Scene, place: int) -> None:
    kernel = scene.kernel
    table = kernel.root.function_profiler if kernel.root is not None else kernel.records.address(JIT)  # type: ignore[attr-defined]
    size = layouts.size("function_profile")
    at = table + (0, 2)[place] * size
    calls = struct.unpack("<Q", scene.read(at + layouts.offset("function_profile", "call_count"), 8))[0]
    least = ((3, 2)[place] << 32) // (calls - 1)
    total = calls * least & 0xFFFFFFFF
    scene.write(at + layouts.offset("function_profile", "total_cycles"), struct.pack("<QQQ", total, least, least + 5))


# Stock kernels only: their adaptive JIT keeps one buffer a function.


def _entry(scene: Scene, index: int) -> int:
    jit = scene.kernel.records.address(JIT)  # type: ignore[attr-defined]
    return int(jit + layouts.offset("adaptive_jit", "functions") + index * layouts.size("jit_function_entry"))


@WING.add("12", "the fourth function has no code buffer", STOCK, r"has no code buffer, and no code was put into one")
def _no_buffer(scene: Scene, place: int) -> None:
    at = _entry(scene, (2, 1)[place])
    context = at + layouts.offset("jit_function_entry", "jit_ctx")
    (first,) = struct.unpack("<I", scene.read(at + 4, 4))
    scene.write(context, bytes(8))
    scene.write(at + 4, struct.pack("<IIIII", first, 0, 0, 0, first))
    scene.word(at + layouts.offset("jit_function_entry", "compiled_level"), 0)


@WING.add("16", "O1, O2 and O3 share one buffer", STOCK, r"share one buffer")
def _one_buffer(scene: Scene, place: int) -> None:
    at = _entry(scene, (0, 2)[place])
    (third,) = struct.unpack("<I", scene.read(at + 16, 4))
    scene.write(at + (8, 12)[place], struct.pack("<I", third))


# Ours only: versions, events, relocations.


@WING.add("14", "JIT code clobbers EBX", OURS, r"overwrites (EBX|ESI), which belongs to its caller")
def _callee_saved(scene: Scene, place: int) -> None:
    tables = SwapTables(scene.copy)
    name, body = (("primes", b"\xbb\x01\x00\x00\x00\x89\xd8"), ("fibonacci", b"\xbe\x07\x00\x00\x00\x89\xf0"))[place]
    tables.emit(tables.version(name, 3), b"\x55\x89\xe5" + body + b"\x5d\xc3")


@WING.add("15", "O1 is the same code as O0", OURS, r"O0 and O1 of \w+ are the same code")
def _same_code(scene: Scene, place: int) -> None:
    tables = SwapTables(scene.copy)
    name = ("primes", "compute")[place]
    first, second = (tables.version(name, level) for level in (0, 1))
    tables.set_version(second, same_as=first.number, code_size=first.code_size, code_crc=first.code_crc)


@WING.add("16", "O1, O2 and O3 share one buffer", OURS, r"share one buffer")
def _shared(scene: Scene, place: int) -> None:
    tables = SwapTables(scene.copy)
    name = ("primes", "strops")[place]
    old, new = (tables.version(name, level) for level in (2, 3))
    tables.set_version(new, code=old.code, entry=old.entry)
    tables.slot(name, old.entry)


@WING.add("6", ".bss of a module is not in its image", OURS, r"uses memory at 0x\w+, which is not its own")
def _no_bss(scene: Scene, place: int) -> None:
    tables = SwapTables(scene.copy)
    name = ("primes", "sum")[place]
    version = tables.version(name, 3)
    # Behind the last block of the DATA pool, as if its variables began where its image ends.
    beyond = max(block.end for block in scene.blocks("data", "used")) + 64 + place * 0x100
    body = b"\xa1" + struct.pack("<I", beyond)
    tables.emit(version, b"\x55\x89\xe5" + body + b"\x5d\xc3")


@WING.add("", "a module is compiled for another address", OURS, r"is not what its image says")
def _other_address(scene: Scene, place: int) -> None:
    from swap_faults_of_code import relocated

    tables = SwapTables(scene.copy)
    version, at = relocated(tables)
    data = bytearray(scene.read(version.code, version.code_size))
    (value,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at, value + (0x100000, 0x4000)[place] & 0xFFFFFFFF)
    tables.emit(version, bytes(data), by_host=False)


@WING.add("", "a stray pointer overwrites the ring", OURS, r"ring 0 (?:is|are) damaged|magic|is of type")
def _ring(scene: Scene, place: int) -> None:
    at = layouts.const("BF_RING0_RECORDS") + (1000, 37)[place] * 32
    scene.write(at, (b"\xff" * 32, struct.pack("<II", 0x12345, 0x54321))[place])


@WING.add("", "the stack ran into what lies below", OURS, r"stack was used down to|stack has run over")
def _deep(scene: Scene, place: int) -> None:
    scene.word(layouts.const("BF_STACK_BOTTOM") + (0x40, 0x1F0)[place], 0x12345678)
    for at in range(layouts.const("BF_STACK_BOTTOM") + 0x200, layouts.const("BF_STACK_TOP") - 0x800, 0x400):
        scene.word(at, 0x00010101)


@WING.add("", "code is changed after it was emitted", OURS, r"was changed after it was emitted")
def _patched(scene: Scene, place: int) -> None:
    tables = SwapTables(scene.copy)
    at = tables.version(("primes", "sha256")[place], 3).code + (20, 44)[place]
    scene.write(at, bytes([scene.read(at, 1)[0] ^ 0x10]))


@WING.add("20", "the exception handler gets no vector number", OURS, r"exception record contradicts the code")
def _vector(scene: Scene, place: int) -> None:
    kernel = scene.kernel
    assert kernel.root is not None
    code = kernel.root.image_base + (0x1800, 0x2A00)[place]
    scene.write(code, b"\x0f\x0b")
    at = kernel.root.exception
    scene.word(at + layouts.offset("bf_exception", "count"), 1)
    scene.word(at + layouts.offset("bf_exception", "vector"), (13, 0)[place])
    scene.word(at + layouts.offset("bf_exception", "eip"), code)
