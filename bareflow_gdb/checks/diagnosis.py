"""What did a diagnosis say: the causes, what else is worth knowing, what was asked?"""

from __future__ import annotations

from dataclasses import dataclass

from bareflow_gdb.checks import registry
from bareflow_gdb.checks.causes import Cause, ranked
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.boot.watch import Watched


@dataclass(frozen=True)
class Diagnosis:
    """Every check was asked, also those that cost packets."""

    causes: tuple[Cause, ...]
    """What is wrong, the worst cause first."""
    notes: tuple[Finding, ...]
    """Findings that are worth knowing, where nothing is wrong."""
    passed: tuple[str, ...]
    """The checks that found nothing."""
    not_asked: tuple[str, ...]
    """Those that had nothing to look at here, or could not look."""
    watched: Watched | None
    """How the start went, when the diagnosis started an image."""

    @classmethod
    def of(cls, found: registry.Findings, watched: Watched | None) -> Diagnosis:
        """From what all checks said."""
        states = {state: tuple(one.name for one in found.checks if one.state == state) for state in registry.STATES}
        return cls(
            ranked(found.findings),
            tuple(finding for finding in found.findings if not finding.bad),
            states[registry.PASSED],
            (*states[registry.NOT_ASKED], *states[registry.COULD_NOT]),
            watched,
        )
