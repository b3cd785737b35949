"""What is wrong, where, how is that known, what follows from it, and what is to be done?"""

from __future__ import annotations

from dataclasses import dataclass

ERROR, WARNING, NOTE = "error", "warning", "note"
"""Something is wrong; it may be, or will be; it is worth knowing and nothing is wrong."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found, each part in words; "" = there is nothing to say."""

    check: str = ""
    """The check's name; filled in by the registry."""
    severity: str = ERROR
    what: str
    where: str = ""
    """An address, a file, a function: the place to look at."""
    evidence: str = ""
    """What was read, and what was expected instead."""
    consequence: str = ""
    next_step: str = ""

    @property
    def bad(self) -> bool:
        """Is something wrong, or may it be?"""
        return self.severity != NOTE

    def __str__(self) -> str:
        """As one sentence."""
        place = f" ({self.where})" if self.where else ""
        return f"{self.what}{place}" + (f": {self.evidence}" if self.evidence else "")
