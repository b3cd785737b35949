"""How much may a guest make the recorder keep, when it announces code without end?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CodeLimits:
    """Machine code of so many versions, and so many bytes of it in all."""

    versions: int = 1 << 16
    total_bytes: int = 256 << 20


CODE_LIMITS = CodeLimits()
