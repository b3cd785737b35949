"""Which JIT code lies where, and what is it called? `primes@O2`, with its version number where there is one.

Kernels with a version table say it exactly. A stock kernel only keeps one entry per level: how long its code is
follows from the buffer that it is in, or from the module; else only that is told which is surely its own.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.reading import filled
from bareflow_gdb.guest.base.values import NOWHERE, Address, code_name
from bareflow_gdb.guest.code.functions import Function, Version
from bareflow_gdb.guest.code.jit import JitFunction

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
    """Bytes; on a stock kernel perhaps only the first ones."""
    entry: Address
    slot: Address
    published: bool
    """Calls go to it now."""
    tsc_published: int

    @property
    def name(self) -> str:
        """`primes@O2`."""
        return code_name(self.function, self.level)

    @property
    def title(self) -> str:
        """`primes@O2 #3`."""
        return code_name(self.function, self.level, self.version)

    def holds(self, address: int) -> bool:
        return self.code <= address < self.code + self.size


@dataclass(frozen=True)
class CodeName:
    """What a user calls JIT code: a function, and perhaps one tier or one version of it."""

    function: str
    level: int | None = None
    version: int | None = None

    def means(self, code: JitCode) -> bool:
        """Is this code one of those that the name means? Without tier and version: of the function."""
        return (
            code.function == self.function and self.level in (None, code.level) and self.version in (None, code.version)
        )

    def __str__(self) -> str:
        tier = "" if self.level is None else f"@O{self.level}"
        return f"{self.function}{tier}" if self.version is None else f"{self.function}{tier} #{self.version}"


_NAME = re.compile(r"(?:jit:)?(?P<function>[^@#\s]+)(?:@[Oo]?(?P<level>[0-3]))?(?:\s*#(?P<version>\d+))?")


def code_name_of(text: str) -> CodeName:
    """`primes`, `primes@O2`, `primes@O3 #24`, each also after `jit:`; raises UsageError."""
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} does not name JIT code; write primes, primes@O3 or primes@O3 #24")
    level, version = found["level"], found["version"]
    return CodeName(found["function"], int(level) if level else None, int(version) if version else None)


def of_versions(
    functions: Sequence[Function], versions: Iterable[Version], current: Mapping[int, int]
) -> tuple[JitCode, ...]:
    """The code in memory by a version table, by address.

    current: the code pointers by the function's index, which a swap changes before the table; where one is not known
    the table tells what is published.
    """
    there = (version for version in versions if version.state in IN_MEMORY and version.code)
    return by_address(_of_version(version, functions, current.get(version.function)) for version in there)


def of_levels(functions: Iterable[JitFunction], sizes: Mapping[Address, int]) -> tuple[JitCode, ...]:
    """The code in memory by the entries of each level; `sizes` are those of code that something tells."""
    listed = [(function, level) for function in functions for level, code in enumerate(function.level_codes) if code]
    return by_address(_of_level(function, level, sizes) for function, level in listed)


def by_address(codes: Iterable[JitCode]) -> tuple[JitCode, ...]:
    """The codes, ordered."""
    return tuple(sorted(codes, key=lambda code: (code.code, code.version or 0)))


def code_at(codes: Iterable[JitCode], address: int) -> JitCode | None:
    """The newest code that holds the address."""
    holding = [code for code in codes if code.holds(address)]
    return max(holding, key=lambda code: (code.published, code.version or 0), default=None)


def after_store(codes: Iterable[JitCode], slot: int, entry: int) -> tuple[JitCode, ...]:
    """The same codes as they are once `entry` has been stored to the code pointer at `slot`."""
    return tuple(
        dataclasses.replace(code, published=code.entry == entry) if code.slot == slot else code for code in codes
    )


def named(read: Callable[[bool], tuple[JitCode, ...]], name: CodeName) -> JitCode:
    """The published code of the name, else its newest; raises UsageError that lists what there is, BareflowError.

    `read` gives the code in memory; with True all of it, also where that costs many packets.
    """
    exact = name.level is not None or name.version is not None
    codes = read(False)
    if not any(name.means(code) and (exact or code.published) for code in codes):
        # Perhaps among the versions that were left out.
        codes = read(True)
    of_function = [code for code in codes if code.function == name.function]
    if not of_function:
        known = ", ".join(dict.fromkeys(code.function for code in codes)) or "none yet"
        raise UsageError(f"no function {name.function!r} has JIT code; there are: {known}")
    meant = [code for code in of_function if name.means(code)]
    if not meant:
        known = ", ".join(code.title for code in of_function)
        raise UsageError(f"{name} is not in memory; of {name.function} there are: {known}")
    return max(meant, key=lambda code: (not exact and code.published, code.version or 0))


def _of_version(version: Version, functions: Sequence[Function], current: int | None) -> JitCode:
    known = version.function < len(functions)
    return filled(
        JitCode,
        version,
        function=version.function_name,
        version=version.number,
        size=min(version.code_size, LARGEST),
        slot=functions[version.function].slot if known else NOWHERE,
        published=version.state == "published" if current is None else version.entry == current,
    )


def _of_level(function: JitFunction, level: int, sizes: Mapping[Address, int]) -> JitCode:
    code = function.level_codes[level]
    # Its first byte is its own, whatever follows.
    return JitCode(
        function.name, level, None, code, sizes.get(code, 1), code, function.slot, code == function.current_code, 0
    )
