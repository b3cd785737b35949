"""Which instructions of SSE or AVX has a piece of a kernel's image? Those that compilers fill and copy with."""

from __future__ import annotations

import re

from bareflow_gdb.guest.code.code_diff import disassembler

_MOVES = re.compile(rb"(?:\x0f|\xc5[\x80-\xff])[\x10\x11\x28\x29\x57\x6f\x7f]")
"""movups, movaps, xorps, movdqa, and the same behind a VEX prefix (Intel SDM volume 2)."""
_REGISTER = re.compile(r"\b[xy]mm[0-7]\b")
_LONGEST = 12
BY_CHANCE = 40
"""Fewer may be data that looks like them."""


def vector_instructions(code: bytes, address: int) -> list[tuple[int, str]]:
    """Address and text of each; empty, without a look at the rest, when there are too few to be more than chance."""
    suspects = [found.start() for found in _MOVES.finditer(code)]
    if len(suspects) < BY_CHANCE:
        return []
    decoded = (next(disassembler(32).disasm_lite(code[at : at + _LONGEST], address + at), None) for at in suspects)
    found = [(one[0], f"{one[2]} {one[3]}") for one in decoded if one is not None and _REGISTER.search(one[3])]
    return found if len(found) >= BY_CHANCE else []
