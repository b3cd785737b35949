"""Which instructions has the JIT code in memory, as far as its entries lead? Where it still is what was emitted."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.code.jit_code import LARGEST, JitCode
from bareflow_gdb.guest.code.paths import Step, reachable
from bareflow_gdb.memory.protocol import Memory

_MOST_BYTES = 512 << 10
"""More code than a kernel makes."""


@dataclass(frozen=True)
class Walked:
    """The code of one version, and the instructions that its entry can come to."""

    code: JitCode
    data: bytes
    steps: Mapping[int, Step]


def walked(memory: Memory, codes: Iterable[JitCode], versions: Iterable[Version]) -> tuple[Walked, ...]:
    """Without versions, as of a stock kernel, nobody tells what was emitted. Raises BareflowError."""
    crcs = {version.number: version.code_crc for version in versions}

    @cache
    def word(address: int) -> int | None:
        try:
            return read_word(memory, address, "table of branch targets")
        except ReadError:
            return None

    found: list[Walked] = []
    left = _MOST_BYTES
    for code in codes:
        left -= code.size
        if not 0 < code.size <= LARGEST or left < 0:
            continue
        data = memory.read(code.code, code.size, f"code of {code.title}")
        if code.version is None or zlib.crc32(data) == crcs.get(code.version):
            found.append(Walked(code, data, reachable(data, code.code, code.entry, word)))
    return tuple(found)
