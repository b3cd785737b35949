"""How is a function to be compiled, apart from its level? As the guest's bitcode says, or as somebody wants it."""

from __future__ import annotations

from dataclasses import dataclass

CPU = "i686"
CPUS = ("i386", "i486", "i586", CPU, "pentium2", "pentium3", "pentium4", "athlon", "core2")
"""For which the code may be laid out; the instructions stay those that the guest has."""


@dataclass(frozen=True)
class Source:
    """Bitcode that takes the place of the guest's."""

    payload: bytes
    entry: str = ""
    """The function that it starts with; empty: the one of the guest's bitcode, or NAME_main."""


@dataclass(frozen=True)
class Recipe:
    """What differs from the usual way is refused where another process answers the guest."""

    cpu: str = CPU
    passes: str = ""
    """LLVM's passes in the place of the level's own, see recompile/pipeline.py."""
    source: Source | None = None


USUAL = Recipe()
