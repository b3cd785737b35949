"""How does a test make objects and bitcode for the guest? As the firmware does, from C text."""

from __future__ import annotations

import subprocess
from pathlib import Path

MODULES = Path(__file__).parents[2] / "firmware" / "modules"
TARGET = ["--target=i686-unknown-none-elf", "-march=i686", "-mno-sse", "-mno-mmx"]
FLAGS = [*TARGET, "-g", "-fno-omit-frame-pointer", "-ffreestanding", "-fno-builtin"]
# Without -funroll-loops clang marks every loop at O1 as not to be unrolled, at any later level.
BITCODE_FLAGS = ["-O1", "-funroll-loops", "-Xclang", "-disable-llvm-passes"]

# Calls, a jump table, read-only data, initialised and zero writable data.
MIXED = """
#include <stdint.h>
int32_t mixed_calls;
int32_t mixed_table[4] = {10, 20, 30, 40};
const int32_t mixed_digits[8] = {3, 1, 4, 1, 5, 9, 2, 6};
static int32_t count(int32_t x) { mixed_calls += 1; return mixed_calls ^ mixed_table[x & 3]; }
int32_t mixed_main(int32_t a, int32_t b) {
    int32_t s = 0;
    for (int32_t i = 0; i < a; i++)
        switch (i % 7) {
        case 0: s += count(i); break;
        case 1: s ^= mixed_digits[i & 7]; break;
        case 2: s *= 3; break;
        case 3: s -= i; break;
        case 4: s += b; break;
        case 5: mixed_table[i & 3] = s; break;
        default: s++;
        }
    return s;
}
"""


def compile_c(folder: Path, source: str, *flags: str, name: str = "code") -> bytes:
    """The relocatable object of C text; `flags` come last, for instance -O2."""
    return _clang(folder, source, name, "o", ["-c", *FLAGS, *flags])


def bitcode(folder: Path, source: str, *flags: str, name: str = "code") -> bytes:
    """LLVM bitcode that can be compiled at every level."""
    return _clang(folder, source, name, "bc", ["-emit-llvm", "-c", *FLAGS, *BITCODE_FLAGS, *flags])


def tier(folder: Path, payload: bytes, level: int) -> bytes:
    """What the firmware's build makes of bitcode at one level."""
    source, target = folder / "tier.bc", folder / f"tier.O{level}.o"
    source.write_bytes(payload)
    subprocess.run(["clang-19", *FLAGS, f"-O{level}", "-c", source, "-o", target], check=True)
    return target.read_bytes()


def _clang(folder: Path, source: str, name: str, suffix: str, flags: list[str]) -> bytes:
    text, target = folder / f"{name}.c", folder / f"{name}.{suffix}"
    text.write_text(source)
    subprocess.run(["clang-19", *flags, text, "-o", target], check=True)
    return target.read_bytes()
