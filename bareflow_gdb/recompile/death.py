"""Why did LLVM not survive a compilation, and what helps? The last words of the worker decide."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from bareflow_gdb.recompile.refusal import BadBitcode, CompilerDied, Refused

_MEMORY = re.compile(r"out of memory|bad_alloc|MemoryError|[Aa]llocation failed", re.IGNORECASE)
_ASSEMBLY = re.compile(r"inline asm|asm parser|constraint|in asm|:\d+:\d+: error:")
_UNSUPPORTED = re.compile(
    r"[Cc]annot select|[Uu]nsupported|[Nn]ot supported|[Dd]o not know how|[Uu]nable to|must be|SSE"
)
_DEFECT = re.compile(r"Assertion|UNREACHABLE|[Bb]roken (module|function)|ran out of registers|Stack dump")
_ERROR = re.compile(r"LLVM ERROR|Assertion|UNREACHABLE|\berror:|MemoryError|bad_alloc")


def death(task: str, code: int, said: Sequence[str]) -> Refused:
    """The refusal for a worker that ended with `code`, negative for a signal, when asked to do `task`."""
    # Remarks are told of what it did before, with names from the bitcode in them.
    said = [line for line in said if not line.startswith("remark:")]
    words = next((line for line in said if _ERROR.search(line)), said[-1] if said else "")
    everything = "\n".join(said)
    ended = f"by signal {-code}" if code < 0 else f"with code {code}"
    what = f"LLVM died {ended} when asked to {task} ({words.strip() or 'no words'})"
    if _MEMORY.search(everything):
        return CompilerDied(f"{what}: it needed too much memory; lower the level or split the function")
    if -code == signal.SIGXCPU:
        return CompilerDied(f"{what}: it used up its time; lower the level or split the function")
    if _ASSEMBLY.search(words):
        return BadBitcode(f"{what}: the inline assembly is not for this target; correct it")
    if ("LLVM ERROR" in words and not _DEFECT.search(words)) or _UNSUPPORTED.search(words):
        return BadBitcode(f"{what}: i686 without SSE and MMX does not offer this; write it another way")
    if _DEFECT.search(words) or -code in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP):
        return CompilerDied(f"{what}: a defect of LLVM, or damaged bitcode; try another level, or build it again")
    return CompilerDied(f"{what}: something else ended it; ask again")
