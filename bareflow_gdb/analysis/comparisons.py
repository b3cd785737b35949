"""What did the code of a function look like before and after a swap? From the trace, else from memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.code.code_diff import Row, align, disassemble
from bareflow_gdb.guest.code.jit_code import LARGEST, JitCode
from bareflow_gdb.guest.code.swaps import Swap, Swaps
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.tracing.store import Trace

MOST = 200
PADDING = b"\0\x90\xcc"


@dataclass(frozen=True)
class Comparison:
    """The code of both sides of one swap."""

    swap: Swap
    old_size: int
    new_size: int
    equal: bool
    rows: tuple[Row, ...]
    missing: str
    """Why there are no rows, "" when there are."""


def compared(trace: Trace | None, kernel: Kernel | None, swaps: Swaps) -> Iterator[Comparison]:
    """The first of the swaps, each with both sides."""
    codes: tuple[JitCode, ...] = ()
    if trace is None and kernel is not None and swaps.swaps:
        try:
            codes = kernel.jit_code(every=True)
        except BareflowError:
            codes = ()
    for swap in swaps.swaps[:MOST]:
        try:
            if trace is not None:
                (old, old_at), (new, new_at) = (_saved(trace, one) for one in (swap.from_version, swap.to_version))
            else:
                sides = ((swap.from_version, swap.old_code), (swap.to_version, swap.new_code))
                (old, old_at), (new, new_at) = (_in_memory(kernel, codes, swap, *side) for side in sides)
        except BareflowError as error:
            yield Comparison(swap, 0, 0, False, (), str(error))
            continue
        rows = align(disassemble(old, old_at), disassemble(new, new_at))
        yield Comparison(swap, len(old), len(new), old == new or swap.same_code, tuple(rows), "")


def _saved(trace: Trace, version: int | None) -> tuple[bytes, int]:
    if version is None:
        raise BareflowError("the trace does not say which version ran before")
    return trace.code_bytes(version), trace.codes[version].address


def _in_memory(
    kernel: Kernel | None, codes: tuple[JitCode, ...], swap: Swap, version: int | None, entry: int
) -> tuple[bytes, int]:
    for code in codes:
        if kernel and code.function == swap.function and code.entry == entry and code.version in (None, version):
            data = kernel.memory.read(code.code, min(code.size, LARGEST), "code of a version")
            # Without versions the size is an upper bound.
            return data if code.version else data.rstrip(PADDING), code.code
    raise BareflowError("its code before or after the swap is not in memory any more")
