"""How many bitcodes are compiled at the same time? A few, each in an LLVM worker of its own; one is always warm."""

from __future__ import annotations

import contextlib

from bareflow_gdb.recompile.compiler import TIMEOUT_SECONDS, Compiler

AT_ONCE = 3
PATIENCE_SECONDS = 0.2
"""What is compiled sooner than that is not worth the start of another worker."""


class Compilers(contextlib.AbstractContextManager["Compilers"]):
    """Workers that are started as they are needed, and end with this object."""

    def __init__(self, timeout: float = TIMEOUT_SECONDS, *, verifies: bool = True) -> None:
        """`timeout`: seconds for one compilation; `verifies`: they can run code too."""
        self._timeout = timeout
        self._verifies = verifies
        self.all = [Compiler(timeout, verifies=verifies)]

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def first(self) -> Compiler:
        """The one that is always warm."""
        return self.all[0]

    def free(self, waited: float, *, first_in_line: bool = False) -> Compiler | None:
        """One that has nothing to do, for what has waited that many seconds; None: wait on.

        `first_in_line`: when all are busy there is one more for it.
        """
        idle = next((compiler for compiler in self.all if not compiler.busy), None)
        if idle is None and waited >= PATIENCE_SECONDS and len(self.all) < AT_ONCE + first_in_line:
            idle = Compiler(self._timeout, verifies=self._verifies)
            self.all.append(idle)
        return idle

    def close(self) -> None:
        """Ends the workers."""
        for compiler in self.all:
            compiler.close()
