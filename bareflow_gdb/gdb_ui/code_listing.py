"""How do the codes of two versions stand side by side?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bareflow_gdb.guest.base.values import Address, code_name

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session


@dataclass(frozen=True)
class Side:
    """The code on one side of a swap."""

    version: int
    level: int
    entry: Address
    code: Address
    code_size: int


def listing(session: Session, function: str, old: Side | None, new: Side | None, *, most: int) -> tuple[str, ...]:
    """Both codes in two columns, at most so many lines (0 = all). Raises ReadError."""
    from bareflow_gdb.guest.code import code_diff
    from bareflow_gdb.render.disas import two_columns

    if old is None or new is None:
        missing = "old" if old is None else "new"
        return (f"the {missing} code is in no version record, so it cannot be shown",)
    listings = []
    for side in (old, new):
        size = min(side.code_size, code_diff.LONGEST)
        code = session.memory.read(side.code, size, f"code of {function} #{side.version}")
        listings.append(code_diff.disassemble(code, side.code))
    rows = code_diff.pairs(code_diff.align(*listings))
    titles = tuple(
        f"{code_name(function, s.level, s.version)}, {s.code_size} bytes at 0x{s.code:08x}" for s in (old, new)
    )
    return tuple(two_columns(rows, (titles[0], titles[1]), most=most or None))
