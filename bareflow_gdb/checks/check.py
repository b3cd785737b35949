"""What is a check: what does it need, what does it look at, what may it find?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.guest.base.finding import Finding


@dataclass(frozen=True)
class Check:
    """`look` gives its findings, none when all is well; it may raise BareflowError when it could not look."""

    name: str
    looks_at: str
    """One line, without a full stop."""
    needs: tuple[str, ...]
    """Names in subject.py: MEMORY, KERNEL, ROOT, STOCK, KERNEL_UP, REGISTERS, SERIAL, OUTPUT, TRACE and others."""
    look: Callable[[Subject], Iterable[Finding]]
    cheap: bool = False
    """May it be asked where each read costs a packet? It then adds no packet to those of `status`."""
