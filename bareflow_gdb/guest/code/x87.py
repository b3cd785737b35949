"""How many values does an x87 instruction leave more on its stack? (Intel SDM volume 1, 8.3)"""

from __future__ import annotations

EMPTIES = ("fninit", "finit", "emms", "femms")
_PUSH = ("fld", "fild", "fbld", "fld1", "fldl2e", "fldl2t", "fldlg2", "fldln2", "fldpi", "fldz", "fxtract", "fptan")
_PUSH_TOO = ("fsincos", "fdecstp")
_POP = ("fstp", "fistp", "fisttp", "fbstp", "faddp", "fsubp", "fsubrp", "fmulp", "fdivp", "fdivrp", "fcomp", "fucomp")
_POP_TOO = ("ficomp", "fcompi", "fcomip", "fucompi", "fucomip", "fyl2x", "fyl2xp1", "fpatan", "ffreep", "fincstp")
_POP_TWO = ("fcompp", "fucompp")
_ALL = ("fnsave", "fsave", "frstor", "fldenv", "fxrstor")


def depth_change(mnemonic: str) -> int | None:
    """None = it cannot be known."""
    if mnemonic in _ALL:
        return None
    if mnemonic in _PUSH or mnemonic in _PUSH_TOO:
        return 1
    if mnemonic in _POP or mnemonic in _POP_TOO:
        return -1
    return -2 if mnemonic in _POP_TWO else 0
