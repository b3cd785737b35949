"""How does a file become bitcode for the guest? C text by clang, with the flags of the firmware's modules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bareflow_gdb import foreign
from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.files import open_regular
from bareflow_gdb.guest.code.bitcode import LARGEST, PAYLOAD_MAGIC
from bareflow_gdb.recompile.recipe import Source
from bareflow_gdb.recompile.wrapped import unwrap

CLANGS = ("clang-19", "clang")
FLAGS = (
    *("--target=i686-unknown-none-elf", "-march=i686", "-mno-sse", "-mno-mmx"),
    *("-std=gnu17", "-ffreestanding", "-fno-builtin", "-fno-pic", "-O1", "-Xclang", "-disable-llvm-passes"),
    *("-funroll-loops", "-g", "-fno-omit-frame-pointer", "-Wall", "-Wextra"),
)
"""As firmware/modules/modules.mk has them; a warning does not end it."""
SECONDS = 60.0
_MOST_LINES = 200


class DoesNotCompile(BareflowError):
    """Clang refuses the text; `lines` is what it said."""

    def __init__(self, message: str, lines: tuple[str, ...]) -> None:
        super().__init__(message)
        self.lines = lines


def read_source(path: Path, entry: str = "") -> tuple[Source, tuple[str, ...]]:
    """The bitcode of a `.c` file, or of one with bitcode, wrapped or not; and what clang warned of.

    Raises DoesNotCompile, UsageError, Unreachable, BadBitcode.
    """
    if path.suffix == ".c":
        open_regular(path).close()
        payload, said = _compile(path)
        return Source(payload, entry), said
    with open_regular(path) as file:
        data = file.read(LARGEST + layouts.size("bitcode_header_t") + 1)
    if data.startswith(PAYLOAD_MAGIC):
        return Source(data, entry), ()
    if data[:4] != layouts.const("BITCODE_MAGIC").to_bytes(4, "little"):
        raise UsageError(f"{path} is neither C text (.c) nor bitcode; give the source, or what clang -emit-llvm made")
    wrapped = unwrap(data)
    return Source(wrapped.payload, entry or wrapped.entry), ()


def _compile(path: Path) -> tuple[bytes, tuple[str, ...]]:
    return run_clang(path, [*FLAGS, "-emit-llvm", "-c"])


def find_clang(path: Path) -> str:
    """Which clang compiles `path`. Raises BareflowError when there is none."""
    clang = next((found for name in CLANGS if (found := shutil.which(name))), None)
    if clang is None:
        raise BareflowError(f"clang is not installed, and {path} is to be compiled; apt-get install {CLANGS[0]}")
    return clang


def run_clang(path: Path, flags: Sequence[str]) -> tuple[bytes, tuple[str, ...]]:
    """What clang makes of a file, and what it warned of. Raises DoesNotCompile, BareflowError."""
    clang = find_clang(path)
    words = [clang, *flags, "-fno-color-diagnostics", str(path.absolute()), "-o", "-"]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BareflowError(f"clang did not compile {path} within {SECONDS:g} s; make it simpler") from error
    except OSError as error:
        raise BareflowError(f"{clang} does not start ({error.strerror or error}); reinstall {CLANGS[0]}") from error
    text = foreign.lines(done.stderr.decode("utf-8", "replace"))
    said = tuple(text.splitlines()[:_MOST_LINES])
    if done.returncode:
        first = next((line for line in said if "error:" in line), said[0] if said else "it did not say why")
        raise DoesNotCompile(f"clang refuses {path} ({first}); correct it and ask again", said)
    return done.stdout, said
