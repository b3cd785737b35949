"""How is a module built that counts its own blocks, without a run-time library, and how are its counters read?

clang instruments (-fprofile-generate). Of what it adds only the counters stay, as writable data of the module: the
guest gives that its place in the DATA pool and a table of names, where the host finds it. Names and hashes of the
functions are kept on the host.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from tempfile import TemporaryDirectory

from bareflow_gdb.build.module import link_module
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.pgo.counts import MOST_COUNTERS, MOST_FUNCTIONS, FunctionCounts
from bareflow_gdb.pgo.entries import counting_text
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.flags import FLAGS
from bareflow_gdb.recompile.objects import COUNTERS
from bareflow_gdb.recompile.source import run_clang

# No values of arguments: those need a library. One thread: no atomic additions. Names stay readable.
_GENERATE = ("-O2", "-fprofile-generate", "-mllvm", "-disable-vp", "-mllvm", "-enable-name-compression=false")
_COUNTERS = "bf_counters_"
_GLOBAL = re.compile(
    r'@"?(?P<name>(?:__profc_|__profd_|__llvm_prf_|__llvm_profile_|llvm\.(?:compiler\.)?used)[^\s",)]*)"? = '
)
_COUNTER = re.compile(r"private global \[(?P<count>\d+) x i64\] zeroinitializer")
_DATA = re.compile(r"i32 \} \{ i64 (?P<id>-?\d+), i64 (?P<hash>-?\d+), ")
_NAMES = re.compile(r'constant \[\d+ x i8\] c"(?P<text>[^"]*)"')
_USE = re.compile(r'@"?(?P<name>__profc_[^\s",)]+)"?')
_ESCAPE = re.compile(rb"\\([0-9A-Fa-f]{2})")
_64 = (1 << 64) - 1


@dataclass(frozen=True)
class Counter:
    """The counters of one function: how the guest's variable is called, how many they are, whose."""

    symbol: str
    count: int
    function: str
    hash: int


@dataclass(frozen=True)
class Instrumented:
    """What counts, an image or bitcode, and what its counters mean."""

    image: bytes
    counters: tuple[Counter, ...]


def instrument(firmware: Firmware, name: str, *, arguments: bool = False) -> Instrumented:
    """`arguments`: it counts those, too. Raises DoesNotCompile, LinkError, BadData, UsageError."""
    lowered, counters = counting(firmware.bitcode(name), name)
    if arguments:
        lowered = counting_text(lowered, f"{name}_main")
    flags = [*FLAGS, "-O2", "-Xclang", "-disable-llvm-passes", "-mllvm", "-enable-shrink-wrap=0", "-c"]
    return Instrumented(link_module(_compiled(lowered, name, flags), name, f"{name}_main"), counters)


def counting_bitcode(payload: bytes, name: str) -> Instrumented:
    """Bitcode that counts its own blocks, in section COUNTERS. Raises DoesNotCompile, BadData, BareflowError."""
    with TemporaryDirectory(prefix="bfp-") as folder:
        path = Path(folder) / f"{name}.bc"
        path.write_bytes(payload)
        lowered, counters = counting(path, name, COUNTERS)
    return Instrumented(
        _compiled(lowered, name, [*FLAGS, "-Xclang", "-disable-llvm-passes", "-emit-llvm", "-c"]), counters
    )


def counting(bitcode: Path, name: str, section: str = "") -> tuple[str, tuple[Counter, ...]]:
    """LLVM's text of bitcode that counts its blocks. Raises DoesNotCompile, BadData, BareflowError."""
    text, _ = run_clang(bitcode, [*FLAGS, *_GENERATE, "-S", "-emit-llvm"])
    return keep_counters(text.decode("utf-8", "replace"), name, section)


def _compiled(text: str, name: str, flags: list[str]) -> bytes:
    with TemporaryDirectory(prefix="bfp-") as folder:
        path = Path(folder) / f"{name}.ll"
        path.write_text(text, encoding="utf-8")
        data, _ = run_clang(path, flags)
    return data


def keep_counters(text: str, module: str, section: str = "") -> tuple[str, tuple[Counter, ...]]:
    """LLVM's text without all that its run-time library would want, the counters with names. Raises BadData.

    section: where the counters are placed; "" = with the writable data.
    """
    kept: list[str] = []
    sizes: dict[str, int] = {}
    described: dict[str, tuple[int, int]] = {}
    names: dict[int, str] = {}
    for line in text.splitlines():
        found = _GLOBAL.match(line)
        if line.startswith(("$__prof", "$__llvm_prof")):
            continue
        if found is None:
            kept.append(line)
        elif found["name"].startswith("__profc_") and (counter := _COUNTER.search(line)):
            sizes[found["name"]] = int(counter["count"])
        elif data := _DATA.search(line):
            described[found["name"].replace("__profd_", "__profc_", 1)] = (
                int(data["id"]) & _64,
                int(data["hash"]) & _64,
            )
        elif found["name"] == "__llvm_prf_nm" and (said := _NAMES.search(line)):
            names = _names(said["text"])
    if not sizes or set(sizes) != set(described) or any(key not in names for key, _ in described.values()):
        raise BadData(f"clang instrumented module {module} in a way that is not known here; use clang 19")
    if len(sizes) > MOST_FUNCTIONS or max(sizes.values()) > MOST_COUNTERS:
        raise BadData(f"module {module} has more counters than can be read; make it smaller")
    symbols = {name: f"{_COUNTERS}{number}" for number, name in enumerate(sorted(sizes))}
    body = _USE.sub(lambda use: f"@{symbols[use['name']]}", "\n".join(kept))
    placed = f', section "{section}"' if section else ""
    variables = [
        f"@{symbols[name]} = global [{size} x i64] zeroinitializer{placed}, align 8" for name, size in sizes.items()
    ]
    counters = (
        Counter(symbols[name], size, names[described[name][0]], described[name][1]) for name, size in sizes.items()
    )
    return "\n".join([body, *variables, ""]), tuple(counters)


def _names(text: str) -> dict[int, str]:
    """LLVM's names by their MD5: two lengths (ULEB128, the second 0: not compressed), then names with 0x01 between."""
    data = _ESCAPE.sub(lambda code: bytes([int(code[1], 16)]), text.encode("utf-8"))
    at = 0
    for _ in range(2):
        while at < len(data) and data[at] & 0x80:
            at += 1
        at += 1
    names = data[at:].rstrip(b"\0").split(b"\x01")
    return {
        struct.unpack_from("<Q", md5(name, usedforsecurity=False).digest())[0]: name.decode("utf-8", "replace")
        for name in names
    }


def read_counts(
    memory: Memory, symbols: Mapping[str, GuestSymbol], counters: Iterable[Counter], module: str
) -> tuple[FunctionCounts, ...]:
    """What the guest counted so far. Raises BadData, ReadError."""
    found = []
    for counter in counters:
        symbol = symbols.get(counter.symbol)
        if symbol is None or symbol.size != 8 * counter.count:
            raise BadData(f"the guest has no counters of {counter.function} ({module}); boot the kernel that counts")
        data = memory.read(symbol.address, symbol.size, f"counters of {module}")
        found.append(FunctionCounts(counter.function, counter.hash, struct.unpack(f"<{counter.count}Q", data)))
    return tuple(found)
