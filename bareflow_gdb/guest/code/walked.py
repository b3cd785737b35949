"""Which instructions has the JIT code in memory, as far as its entries lead? Where it still is what was emitted."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.reading import read_word
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.code.jit_code import LARGEST, JitCode
from bareflow_gdb.guest.code.kept import Broken, not_kept
from bareflow_gdb.guest.code.paths import NO_INSTRUCTION, Step, reachable
from bareflow_gdb.memory.protocol import Memory

_MOST_BYTES = 512 << 10
"""More code than a kernel makes."""


@dataclass(frozen=True)
class Paths:
    """The ways through one piece of code."""

    entry: int
    steps: Mapping[int, Step]

    @cached_property
    def complete(self) -> bool:
        """Does every way stay among instructions to its end?"""
        return all(
            step.mnemonic != NO_INSTRUCTION and all(to in self.steps for to in step.after)
            for step in self.steps.values()
        )

    @cached_property
    def broken(self) -> tuple[Broken, ...]:
        """What its returns do not leave as it was."""
        return tuple(not_kept(self.steps, self.entry))


@dataclass(frozen=True)
class Walked:
    """The code of one version, and the ways through it."""

    code: JitCode
    data: bytes
    paths: Paths


@dataclass
class Walker:
    """Goes through code; what it has been through before it does not go through again."""

    _known: dict[tuple[int, int, bytes], Paths] = field(default_factory=dict)

    def walk(self, memory: Memory, codes: Iterable[JitCode], versions: Iterable[Version]) -> tuple[Walked, ...]:
        """Without versions, as of a stock kernel, nobody tells what was emitted. Raises ReadError."""
        crcs = {version.number: version.code_crc for version in versions}
        found: list[Walked] = []
        kept: dict[tuple[int, int, bytes], Paths] = {}
        left = _MOST_BYTES
        for code in codes:
            left -= code.size
            if not 0 < code.size <= LARGEST or left < 0:
                continue
            data = memory.read(code.code, code.size, f"code of {code.title}")
            if code.version is not None and zlib.crc32(data) != crcs.get(code.version):
                continue
            one = Walked(code, data, self._paths(memory, code, data, kept))
            # Where nobody tells how long the code is, ways that do not end in it show that this is not it, or not all.
            if code.version is not None or one.paths.complete:
                found.append(one)
        self._known = kept
        return tuple(found)

    def _paths(self, memory: Memory, code: JitCode, data: bytes, kept: dict[tuple[int, int, bytes], Paths]) -> Paths:
        tables: list[int] = []

        def word(address: int) -> int | None:
            tables.append(address)
            try:
                return read_word(memory, address, "table of branch targets")
            except ReadError:
                return None

        key = (int(code.code), int(code.entry), data)
        paths = self._known.get(key)
        if paths is None:
            paths = Paths(code.entry, reachable(data, code.code, code.entry, word))
        if not tables:
            # A table is data, which may be another one the next time.
            kept[key] = paths
        return paths
