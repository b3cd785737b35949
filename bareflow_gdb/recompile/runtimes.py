"""Which run-time library, that no guest has, does a name of the compiler's belong to, and what leaves it out?"""

from __future__ import annotations

import re
from collections.abc import Iterable

_KNOWN = (
    (r"__cxa_(?!atexit|guard|pure)|_Unwind_|__gxx_personality|__gcc_personality|rust_eh_", "exceptions",
     "-fno-exceptions"),
    (r"_ZT[VI]N10__cxxabiv1|_ZTI", "run-time type information", "-fno-rtti -fno-exceptions"),
    (r"__cxa_atexit|__dso_handle", "destructors at exit", "-fno-c++-static-destructors"),
    (r"__cxa_guard", "guards of local statics", "-fno-threadsafe-statics"),
    (r"__[a-z]*san_|__sanitizer|__sancov", "a sanitizer", "-fno-sanitize=all"),
    (r"llvm\.instrprof|__llvm_profile|__llvm_gcov|llvm_gc", "profiling", "-fno-profile-instr-generate, no --coverage"),
    (r"_?mcount$|__fentry__$|__cyg_profile", "function tracing", "no -pg, no -finstrument-functions"),
    (r"__stack_chk", "the stack protector", "-fno-stack-protector"),
    (r"__tls_get_addr|___tls_get_addr|__emutls", "thread-local data", "no `_Thread_local`"),
    (r"__kmpc_|omp_|GOMP_", "OpenMP", "-fno-openmp"),
    (r"__atomic_", "atomics of more bytes than the CPU has", "smaller atomic types"),
)  # fmt: skip
_LIBRARY = [(re.compile(pattern), library, flags) for pattern, library, flags in _KNOWN]


def needed(names: Iterable[str]) -> str:
    """`NAME belongs to …; compile with …` for the first of the names that a run-time library has; else empty."""
    for name in names:
        for pattern, library, flags in _LIBRARY:
            if pattern.match(name):
                return f"{name} belongs to a run-time library that no guest has ({library}); compile with {flags}"
    return ""


def undefined(names: list[str], otherwise: str) -> str:
    """The refusal of undefined symbols; `otherwise` is the next step for those of no such library."""
    return f"undefined symbol{'s' if len(names) > 1 else ''} {', '.join(names)}; {needed(names) or otherwise}"
