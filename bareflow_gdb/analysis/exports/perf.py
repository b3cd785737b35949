"""How does Linux perf get the names, and the code, of a guest's JIT functions? A perf map, and a jitdump.

A map has one line for each range of addresses: start and size in hexadecimal, and the name
(tools/perf/Documentation/jit-interface.txt of Linux). It knows no time: of code that lay at one address after the other
the newest is named. A jitdump (jitdump-specification.txt there) has every version, its code, and when it was made.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bareflow_gdb.abi.events import BY_NAME
from bareflow_gdb.analysis.exports.columns import moment
from bareflow_gdb.analysis.zero import trace_clock
from bareflow_gdb.files import replacing, write_atomically
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.tracing.codes import SavedCode
from bareflow_gdb.tracing.segments import to_events
from bareflow_gdb.tracing.store import Trace

PID = 1
"""The guest has no processes: it is one."""
_HEADER = struct.Struct("<6I2Q")
_MAGIC, _VERSION, _I386 = 0x4A695444, 1, 3
_RECORD = struct.Struct("<2IQ")
_LOAD, _CLOSE = 0, 3
_LOADED = struct.Struct("<2I4Q")


def export_map(trace: Trace, path: Path) -> int:
    """Writes the map; returns the number of its lines. Raises BadData, CannotWrite."""
    shown = list(_newest(trace.codes.values()))
    lines = (f"{code.address:x} {code.size:x} {_name(trace, code)}\n" for code in shown)
    write_atomically(path, "".join(lines))
    return len(shown)


def export_jitdump(trace: Trace, path: Path) -> int:
    """Writes the jitdump; returns the number of versions in it, those whose code was saved.

    Raises BadData, CannotWrite.
    """
    clock = trace_clock(trace)
    made = _made(trace)
    saved = [code for code in trace.codes.values() if code.sha256]
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(_HEADER.pack(_MAGIC, _VERSION, _HEADER.size, _I386, 0, PID, 0, 0))
        for code in sorted(saved, key=lambda code: (made.get(code.version, 0), code.version)):
            data = trace.code_bytes(code.version)
            name = _name(trace, code).encode(errors="replace") + b"\0"
            place = _LOADED.pack(PID, PID, code.address, code.address, len(data), code.version)
            size = _RECORD.size + len(place) + len(name) + len(data)
            file.write(_RECORD.pack(_LOAD, size, moment(clock, made.get(code.version, 0))) + place + name + data)
        file.write(_RECORD.pack(_CLOSE, _RECORD.size, moment(clock, clock.last)))
    return len(saved)


def _newest(codes: Iterable[SavedCode]) -> Iterator[SavedCode]:
    """Those over which no newer version was written, by address."""
    kept: list[tuple[int, int, SavedCode]] = []
    for code in sorted(codes, key=lambda code: -code.version):
        at = bisect_left(kept, (code.address, 0))
        free = code.size > 0 and (at == 0 or kept[at - 1][1] <= code.address)
        if free and (at == len(kept) or kept[at][0] >= code.address + code.size):
            insort(kept, (code.address, code.address + code.size, code), key=lambda one: one[:2])
    yield from (code for _, _, code in kept)


def _made(trace: Trace) -> dict[int, int]:
    """When each version's code was written, or at least published, as far as the events tell."""
    known = trace.codes
    made: dict[int, int] = {}
    for part in trace.parts(types=("emit", "publish")):
        events = to_events(part)
        words = events["arg"][:, 3]
        emitted = events["type"] == BY_NAME["emit"].number
        versions = np.where(emitted, words, words >> 8)
        for version, tsc in zip(versions.tolist(), events["tsc"].tolist(), strict=True):
            if version in known:
                made.setdefault(version, tsc)
    return made


def _name(trace: Trace, code: SavedCode) -> str:
    """On one line, as the manifest's names are."""
    function = trace.function_name(code.function)
    return f"{function} #{code.version}" if code.level is None else code_name(function, code.level, code.version)
