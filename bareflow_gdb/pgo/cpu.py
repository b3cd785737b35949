"""Which flags compile for a CPU, and has the guest's CPU what such code needs? By CPUID, feature by feature.

Intel SDM volume 2A, CPUID; which feature a `-march` takes for granted is in LLVM's X86TargetParser.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.errors import Unreachable, UsageError
from bareflow_gdb.pgo.flags import CPU
from bareflow_gdb.qemu.machine import Machine

# The leaf's register, the bit: leaf 1 EDX and ECX, leaf 7 EBX, leaf 0x80000001 ECX.
FEATURES = {
    "x87": ("1.EDX", 0),
    "tsc": ("1.EDX", 4),
    "cx8": ("1.EDX", 8),
    "cmov": ("1.EDX", 15),
    "mmx": ("1.EDX", 23),
    "fxsr": ("1.EDX", 24),
    "sse": ("1.EDX", 25),
    "sse2": ("1.EDX", 26),
    "sse3": ("1.ECX", 0),
    "ssse3": ("1.ECX", 9),
    "fma": ("1.ECX", 12),
    "cx16": ("1.ECX", 13),
    "sse4.1": ("1.ECX", 19),
    "sse4.2": ("1.ECX", 20),
    "movbe": ("1.ECX", 22),
    "popcnt": ("1.ECX", 23),
    "avx": ("1.ECX", 28),
    "f16c": ("1.ECX", 29),
    "bmi": ("7.EBX", 3),
    "avx2": ("7.EBX", 5),
    "bmi2": ("7.EBX", 8),
    "lzcnt": ("80000001.ECX", 5),
}
_I586 = ("x87", "cx8")
_I686 = (*_I586, "cmov")
_SSE = (*_I686, "mmx", "fxsr", "sse")
_CORE2 = (*_SSE, "sse2", "sse3", "ssse3", "cx16")
_NEHALEM = (*_CORE2, "sse4.1", "sse4.2", "popcnt")
_HASWELL = (*_NEHALEM, "avx", "f16c", "fma", "movbe", "bmi", "avx2", "bmi2", "lzcnt")
NEEDS: dict[str, tuple[str, ...]] = {
    "i386": (),
    "i486": ("x87",),
    "i586": _I586,
    "pentium": _I586,
    CPU: _I686,
    "pentium2": (*_I686, "mmx", "fxsr"),
    "pentium3": _SSE,
    "pentium4": (*_SSE, "sse2"),
    "prescott": (*_SSE, "sse2", "sse3"),
    "core2": _CORE2,
    "nehalem": _NEHALEM,
    "haswell": _HASWELL,
}
_OFF = {"mmx": "-mno-mmx", "sse": "-mno-sse"}


@dataclass(frozen=True)
class CpuFlags:
    """The flags for a CPU."""

    cpu: str
    flags: tuple[str, ...]
    needs: tuple[str, ...]
    guest: str
    """What was asked whether it has them; "" = nobody."""


def flags_for(cpu: str, machine: Machine | None = None) -> CpuFlags:
    """Raises UsageError for a CPU that is not known, and by name for what the guest's CPU lacks."""
    if cpu not in NEEDS:
        raise UsageError(f"{cpu} is not a CPU that is known here; there are {', '.join(NEEDS)}")
    needs = NEEDS[cpu]
    if machine is not None:
        check(cpu, guest_features(machine))
    # The kernel neither saves those registers nor turns SSE on: modules do without, on whatever CPU.
    off = [flag for feature, flag in _OFF.items() if feature in needs or cpu == CPU]
    flags = (f"-march={cpu}", *off) if cpu != CPU else (f"-march={CPU}", "-mno-sse", "-mno-mmx")
    return CpuFlags(cpu, flags, needs, f"machine {machine.name}" if machine else "")


def check(cpu: str, has: Iterable[str]) -> None:
    """Raises UsageError, with the features that are missing."""
    missing = [feature for feature in NEEDS[cpu] if feature not in set(has)]
    if missing:
        raise UsageError(
            f"code for {cpu} needs {', '.join(missing)}, which the guest's CPU lacks; compile for {CPU} (--qemu-safe)"
        )


def guest_features(machine: Machine) -> frozenset[str]:
    """What the CPUID of a machine's CPU says, as QEMU tells it. Raises Unreachable."""
    with suppress(KeyError, IndexError, TypeError, ValueError):
        path = machine.qmp("query-cpus-fast")[0]["qom-path"]
        return features_of(machine.qmp("qom-get", path=path, property="feature-words"))
    raise Unreachable(f"QEMU of machine {machine.name} does not tell its CPUID; start it with `bareflow run`")


def features_of(words: Any) -> frozenset[str]:
    """From QEMU's `feature-words`: a list of CPUID registers with their bits."""
    bits = {f"{word['cpuid-input-eax']:x}.{word['cpuid-register']}": int(word["features"]) for word in words}
    return frozenset(name for name, (register, bit) in FEATURES.items() if bits.get(register, 0) >> bit & 1)
