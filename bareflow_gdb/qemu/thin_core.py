"""How is a core made smaller by what can be had elsewhere? A model's weights are on the disk, and have CRCs.

What is left out keeps its program header, with no bytes in the file (`p_filesz` 0), as ELF cores of programs have it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.files import replacing
from bareflow_gdb.memory.protocol import Memory, Range

# Elf64_Ehdr, and Elf64_Phdr: type, flags, offset, virtual and physical address, bytes in file and memory, alignment.
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_PT_LOAD = 1
_MOST_HEADERS = 4096
_AT_ONCE = 1 << 20

_Program = tuple[int, int, int, int, int, int, int, int]


def weights(memory: Memory) -> Range | None:
    """Where the tensors of a packed model lie that was loaded whole, by the kernel's record; None = there is none.

    Its head and its tokens, which lie before them, tell of what it was at.
    """
    try:
        data = memory.read(layouts.const("BF_MODEL_RECORD_ADDRESS"), layouts.size("bf_model_record"), "model record")
    except BareflowError:
        return None
    raw = layouts.unpack("bf_model_record", data)
    known = raw.magic == layouts.const("BF_MODEL_RECORD_MAGIC")
    if not known or raw.state != layouts.const("BF_MODEL_STATE_LOADED"):
        return None
    base = layouts.const("BF_WEIGHTS_BASE")
    return (base + _first_tensor(memory, base, raw.bytes), base + raw.bytes) if raw.bytes else None


def _first_tensor(memory: Memory, base: int, size: int) -> int:
    """Its offset; 0 when the head cannot be right."""
    try:
        header = layouts.unpack("bf_model_header", memory.read(base, layouts.size("bf_model_header"), "model's header"))
        if not 0 < header.parts <= layouts.const("BF_MODEL_MOST_PARTS"):
            return 0
        begin = layouts.size("bf_model_header")
        data = memory.read(base + begin, header.parts * layouts.size("bf_model_part"), "model's parts")
    except BareflowError:
        return 0
    first = layouts.const("BF_MODEL_TOKEN_EMBD")
    parts = layouts.unpack_array("bf_model_part", data, header.parts)
    found = min((part.offset for part in parts if part.kind >= first), default=0)
    return found if begin + len(data) <= found < size else 0


def leave_out(core: Path, left: Range) -> bool:
    """Writes QEMU's core again without this range; False when it has no such range, or is none of QEMU's (ELF64).

    Raises CannotWrite.
    """
    with core.open("rb") as file:
        header = list(_HEADER.unpack(file.read(_HEADER.size)))
        if header[0][:5] != b"\x7fELF\2" or header[9] != _PROGRAM.size or header[10] > _MOST_HEADERS:
            return False
        file.seek(header[5])
        table = file.read(header[10] * _PROGRAM.size)
        programs = _cut([*_PROGRAM.iter_unpack(table)], left)
        if len(programs) == header[10]:
            return False
        with replacing(core) as smaller, smaller.open("wb") as out:
            header[5], header[6], header[10], header[12] = _HEADER.size, 0, len(programs), 0
            at = _HEADER.size + len(programs) * _PROGRAM.size
            placed = []
            for program in programs:
                placed.append((*program[:2], at, *program[3:]))
                at += program[5]
            out.write(_HEADER.pack(*header) + b"".join(_PROGRAM.pack(*program) for program in placed))
            for program in programs:
                _copy(file, out, program[2], program[5])
    return True


def _cut(programs: list[_Program], left: Range) -> list[_Program]:
    start, end = left
    found: list[_Program] = []
    for program in programs:
        kind, flags, offset, virtual, physical, size, _, alignment = program
        if kind != _PT_LOAD or not physical <= start < end <= physical + size:
            found.append(program)
            continue
        for low, high in ((physical, start), (start, end), (end, physical + size)):
            skip, kept = low - physical, 0 if low == start else high - low
            found.append((kind, flags, offset + skip, virtual + skip, low, kept, high - low, alignment))
    return found


def _copy(source: IO[bytes], out: IO[bytes], offset: int, size: int) -> None:
    source.seek(offset)
    while size and (piece := source.read(min(size, _AT_ONCE))):
        out.write(piece)
        size -= len(piece)
