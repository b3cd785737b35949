"""Is this LLVM bitcode, and can this LLVM read it?

LLVM may abort on damaged bitcode, so inside the suite this runs only in the worker process.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from bareflow_gdb.guest.code.bitcode import LARGEST, PAYLOAD_MAGIC
from bareflow_gdb.recompile.refusal import BadBitcode

_PRODUCER = re.compile(r"Producer: '(?:LLVM)?(?P<version>(?P<major>\d+)[^']*)'")


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
        raise BadBitcode(_refused(str(error))) from error
    return module


def parse_text(text: str) -> llvm.ModuleRef:
    """The module that LLVM's own printer wrote; raises BadBitcode."""
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise BadBitcode(_refused(str(error))) from error
    return module


def _refused(said: str) -> str:
    """LLVM's refusal as a sentence; a newer producer is told by its version."""
    why = next((line.strip() for line in said.splitlines() if line.strip()), "no reason given")
    producer = _PRODUCER.search(said)
    ours = llvm.llvm_version_info[0]
    if producer and int(producer["major"]) > ours:
        return (
            f"the bitcode is of LLVM {producer['version']}, newer than the suite's LLVM {ours} ({why}); "
            f"compile it with LLVM {ours} or older"
        )
    return f"LLVM refuses the bitcode ({why}); build it again"
