"""Which JIT code lies where, and what is it called? `primes@O2`, with its version number where there is one.

Kernels with a version table say it exactly. A stock kernel only keeps one entry per level: how long its code is
follows from the buffer that it is in, or from the module; else it is taken to reach to the next one, at most 8 KiB.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.functions import Function, Version
from bareflow_gdb.guest.code.jit import JitFunction
from bareflow_gdb.guest.guest import Guest

BUFFER_BYTES = 8192
"""code_capacity of a stock kernel's jit_ctx."""

LARGEST = 64 << 10
"""No version is larger; a larger size in guest memory cannot be right."""

IN_MEMORY = ("emitted", "published", "retired")


@dataclass(frozen=True)
class JitCode:
    """The code of one version, or of one level where the kernel keeps no versions."""

    function: str
    level: int
    version: int | None
    code: Address
    size: int
    """Bytes; on a stock kernel an upper bound."""
    entry: Address
    slot: Address
    published: bool
    """Calls go to it now."""
    tsc_published: int

    @property
    def name(self) -> str:
        """`primes@O2`."""
        return f"{self.function}@O{self.level}"

    @property
    def title(self) -> str:
        """`primes@O2 #3`."""
        return self.name if self.version is None else f"{self.name} #{self.version}"

    def holds(self, address: int) -> bool:
        return self.code <= address < self.code + self.size


def read_jit_code(guest: Guest, every: bool = False) -> tuple[JitCode, ...]:
    """The code in memory by address; raises BareflowError when the kernel has no adaptive JIT.

    Over a gdbstub, and unless `every` is asked for, the newest of very many versions and most published ones.
    """
    try:
        functions = guest.functions()
        versions = guest.versions(causes=False, every=every)
        found = [_of_version(version, functions) for version in versions if _is_in_memory(version)]
    except BareflowError:
        found = _of_levels(guest.jit().functions, guest.stock.code_sizes())
    return tuple(sorted(found, key=lambda code: (code.code, code.version or 0)))


def code_at(codes: Iterable[JitCode], address: int) -> JitCode | None:
    """The newest code that holds the address."""
    holding = [code for code in codes if code.holds(address)]
    return max(holding, key=lambda code: (code.published, code.version or 0), default=None)


def after_store(codes: Iterable[JitCode], slot: int, entry: int) -> tuple[JitCode, ...]:
    """The same codes as they are once `entry` has been stored to the code pointer at `slot`."""
    return tuple(
        dataclasses.replace(code, published=code.entry == entry) if code.slot == slot else code
        for code in codes
    )


def named(guest: Guest, function: str, level: int | None = None) -> JitCode:
    """A function's published code, or its newest of a level; raises UsageError, BareflowError."""
    codes = read_jit_code(guest)
    if not any(
        c.function == function and (c.published if level is None else c.level == level) for c in codes
    ):
        # Perhaps among the versions that were left out.
        codes = read_jit_code(guest, every=True)
    kept = [code for code in codes if code.function == function]
    if not kept:
        known = ", ".join(dict.fromkeys(code.function for code in codes)) or "none yet"
        raise UsageError(f"no function {function!r} has JIT code; there are: {known}")
    if level is None:
        return max(kept, key=lambda code: (code.published, code.version or 0))
    tiers = sorted({f"O{code.level}" for code in kept})
    kept = [code for code in kept if code.level == level]
    if not kept:
        raise UsageError(f"{function} has no code at O{level} in memory; it has {', '.join(tiers)}")
    return max(kept, key=lambda code: code.version or 0)


def _is_in_memory(version: Version) -> bool:
    return version.state in IN_MEMORY and version.code != 0


def _of_version(version: Version, functions: Sequence[Function]) -> JitCode:
    known = version.function < len(functions)
    return JitCode(
        function=version.function_name,
        level=version.level,
        version=version.number,
        code=version.code,
        size=min(version.code_size, LARGEST),
        entry=version.entry,
        slot=functions[version.function].slot if known else Address(0),
        published=version.state == "published",
        tsc_published=version.tsc_published,
    )


def _of_levels(functions: Iterable[JitFunction], sizes: Mapping[Address, int]) -> list[JitCode]:
    starts = sorted({int(code) for function in functions for code in function.level_codes if code})
    after = dict(itertools.pairwise(starts))
    return [
        JitCode(
            function=function.name,
            level=level,
            version=None,
            code=code,
            size=sizes.get(code) or min(after.get(int(code), code + BUFFER_BYTES) - code, BUFFER_BYTES),
            entry=code,
            slot=function.slot,
            published=code == function.current_code,
            tsc_published=0,
        )
        for function in functions
        for level, code in enumerate(function.level_codes)
        if code
    ]
