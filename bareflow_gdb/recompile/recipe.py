"""How is a function to be compiled, apart from its level? As the guest's bitcode says, or as somebody wants it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from bareflow_gdb.guest.base.values import feature_name
from bareflow_gdb.recompile.refusal import NotExecutable

CPU = "i686"
AS_GUEST = "guest"
_LAID_OUT = ("i386", "i486", "i586", CPU, "pentium2", "pentium3", "pentium4", "athlon", "core2")
"""The code may be laid out for them; the instructions stay those of an i686."""
RUNGS = ("sse", "sse2", "sse3", "ssse3", "sse4_1", "sse4_2", "avx", "avx2")
"""Vector instructions, as `enum bf_feature` has them; each builds on those before it."""
_VECTORS = {"nehalem": "sse4_2", "haswell": "avx2"}
"""These bring their vector instructions along."""
CPUS = (*_LAID_OUT, *_VECTORS, AS_GUEST)


@dataclass(frozen=True)
class Source:
    """Bitcode that takes the place of the guest's."""

    payload: bytes
    entry: str = ""
    """The function that it starts with; empty: the one of the guest's bitcode, or NAME_main."""
    edited: bool = True
    """It may do something else than the guest's bitcode."""


@dataclass(frozen=True)
class Recipe:
    """What differs from the usual way is refused where another process answers the guest."""

    cpu: str = CPU
    """One of CPUS, or one of RUNGS: an i686 with these vector instructions and those before them."""
    passes: str = ""
    """LLVM's passes in the place of the level's own, see recompile/pipeline.py."""
    source: Source | None = None

    @property
    def vectors(self) -> tuple[str, ...]:
        """The vector instructions that its code may have."""
        return RUNGS[: RUNGS.index(self.cpu) + 1] if self.cpu in RUNGS else ()

    def on(self, guest: Sequence[str]) -> Recipe:
        """The recipe for a guest that has these vector instructions; raises NotExecutable when they are not enough."""
        rung = _VECTORS.get(self.cpu, self.cpu)
        has = [*takewhile(lambda known: known in guest, RUNGS)]
        if rung == AS_GUEST:
            rung = has[-1] if has else CPU
        made = replace(self, cpu=rung)
        lacking = [feature_name(wanted) for wanted in made.vectors if wanted not in has]
        if lacking:
            raise NotExecutable(
                f"the guest has {', '.join(map(feature_name, has)) or 'no vector instructions'} and {self.cpu} needs "
                f"{', '.join(lacking)} too; take --cpu {AS_GUEST}, or a machine with a larger CPU "
                "(`bareflow run --cpu max`)"
            )
        return made


USUAL = Recipe()
