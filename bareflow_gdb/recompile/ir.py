"""What must hold for a function's bitcode before it is compiled at any level?

Used when bitcode is wrapped for the guest and again when it comes back out of guest memory. LLVM may abort on
damaged bitcode, so inside the suite this runs only in the worker process.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from bareflow_gdb.guest.code.bitcode import LARGEST, PAYLOAD_MAGIC
from bareflow_gdb.recompile.refusal import BadBitcode

_TRIPLE = re.compile(r"i[3-6]86-")
_WRITABLE = re.compile(r"^@[^=]+= (?P<flags>.*?)\bglobal ")
_LOCAL_LINKAGE = re.compile(r"\b(internal|private)\b")


def parse(payload: bytes) -> llvm.ModuleRef:
    """The module in `payload`, verified by LLVM; raises BadBitcode."""
    if not payload.startswith(PAYLOAD_MAGIC):
        raise BadBitcode(
            f"not LLVM bitcode: it begins with {payload[:4].hex(' ') or 'nothing'} instead of 42 43 c0 de; "
            "give the output of `clang -emit-llvm -c`"
        )
    if len(payload) > LARGEST:
        raise BadBitcode(f"the bitcode has {len(payload)} bytes, more than the limit of {LARGEST}; split the module")
    try:
        module = llvm.parse_bitcode(payload)
        module.verify()
    except RuntimeError as error:
        first_line = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise BadBitcode(f"LLVM refuses the bitcode ({first_line.strip()}); build it again") from error
    return module


def check(module: llvm.ModuleRef, entry: str) -> None:
    """Raises BadBitcode unless the module can become a version of a JIT function that starts at `entry`.

    Writable data must have external linkage: LLVM splits, shrinks or drops a `static` differently at each
    level, and all versions of a function share one copy of it.
    """
    if not _TRIPLE.match(module.triple):
        raise BadBitcode(
            f"the bitcode is for {module.triple or 'no target'}; compile with --target=i686-unknown-none-elf"
        )
    defined = {function.name: function for function in module.functions if not function.is_declaration}
    if entry not in defined:
        known = ", ".join(sorted(defined)) or "none"
        raise BadBitcode(f"the bitcode has no function {entry}, only {known}; name its entry")
    for name, function in defined.items():
        attributes = b" ".join(function.attributes)
        if re.search(rb"\boptnone\b", attributes):
            raise BadBitcode(
                f"{name} is marked optnone, so every level would be O0; compile with -O1 -Xclang -disable-llvm-passes"
            )
        if b'"frame-pointer"="all"' not in attributes:
            raise BadBitcode(f"{name} does not keep a frame pointer; compile with -fno-omit-frame-pointer")
    for variable in module.global_variables:
        match = _WRITABLE.match(str(variable))
        if match and _LOCAL_LINKAGE.search(match["flags"]):
            raise BadBitcode(
                f"writable data {variable.name} is static, and LLVM lays statics out differently at each "
                "level; drop `static` so that all versions can share one copy"
            )
