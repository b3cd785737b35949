"""What became of one request to recompile a function?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.guest.base.values import NOWHERE, Address

ANSWER_SECONDS = 15.0
"""How long the end of a request is waited for."""


@dataclass(frozen=True)
class Phases:
    """Milliseconds on the host's clock; a phase that was not reached is None."""

    request: float | None = None
    """Doorbell to the guest's request."""
    compile: float | None = None
    link: float | None = None
    """Linking and staging."""
    verify: float | None = None
    """The new code was run beside the published code."""
    install: float | None = None
    """Staged to installed, or to rejected, by the guest."""
    first_execution: float | None = None
    """Published to first called, on the guest's clock."""
    total: float | None = None
    """From the doorbell (without one: from the guest's request) to the first call."""


@dataclass(frozen=True)
class Verification:
    """What came of running the new code on the host, beside the published code, before the guest got it."""

    state: str
    """"agrees", "differs" (as edited source may), or "not verified"."""
    against: str
    """The version that was published."""
    inputs: int
    """With so many both did the same, or at least nothing that harms their caller."""
    seen: int
    """Of these inputs, from calls that the guest had made, apart from its usual one."""
    native: bool
    """It has x87 code, and was run on the host's own CPU too."""
    reason: str
    """Why it was not verified, or what differs, as a sentence."""
    milliseconds: float | None
    """Of processor time in the emulator; None when nothing was run."""


@dataclass(frozen=True)
class Specialised:
    """The arguments that a version was made for, behind a guard, and what that was worth."""

    a: int | None
    """None = this argument may have any value."""
    b: int | None
    share: float
    """Of the calls that were counted."""
    calls: int
    """That were counted."""
    verdict: str
    """Of the guest's own measurements, as in `Worth`."""
    why: str
    """Of a verdict that is not known."""
    before: float | None
    """Cycles of a call, the median; None = not measured."""
    after: float | None
    kept: bool
    """Not kept = the version before it was put back, for it was not faster."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The request, and the version that came of it."""

    function: str
    request: int
    """Number of the request, counted by the guest per function."""
    level: int
    state: str
    """"installed" or "rejected"."""
    reason: str
    """Why it was rejected, as a word of enum bf_reason."""
    message: str
    """The same as a sentence; empty when installed."""
    version: int | None = None
    code: Address = NOWHERE
    code_size: int = 0
    rodata: Address = NOWHERE
    rodata_size: int = 0
    result: int | None = None
    """What the guest's first call of the new version returned."""
    expected: int | None = None
    correct: bool | None = None
    milliseconds: Phases
    remarks: tuple[str, ...]
    """What LLVM said about its optimisations."""
    passes: tuple[tuple[str, float], ...] = ()
    """Milliseconds of processor time by LLVM's passes, the slowest first."""
    notes: tuple[str, ...] = ()
    """What of the bitcode was rewritten for the guest."""
    symbol_file: str | None = None
    replaced: Address = NOWHERE
    """The code in whose place it was put into a kernel without a mailbox, which numbers no versions of its own."""
    kept: tuple[str, ...] = ()
    """The work files that were asked for: bitcode, object, remarks, times of passes."""
    from_cache: bool = False
    """It was compiled before, and kept."""
    verification: Verification | None = None
    """None when it was not asked for, another process served, or it did not come to that."""
    specialised: Specialised | None = None
    """None = it was made for any arguments."""

    @property
    def installed(self) -> bool:
        """Whether the guest calls the new version from now on."""
        return self.state == "installed"

    @property
    def right(self) -> bool:
        """Whether it is installed, stays, and its first call returned what was expected, as far as that is known."""
        stays = self.specialised is None or self.specialised.kept
        return self.installed and stays and self.correct is not False

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Outcome:
        """The record that `bareflow recompile --json` prints. Raises KeyError, TypeError, ValueError."""
        return cls(
            **{
                **record,
                "code": Address(int(record["code"], 16)),
                "rodata": Address(int(record["rodata"], 16)),
                "replaced": Address(int(record["replaced"], 16)),
                "milliseconds": Phases(**record["milliseconds"]),
                "remarks": tuple(record["remarks"]),
                "kept": tuple(record["kept"]),
                "passes": tuple((str(name), float(spent)) for name, spent in record["passes"]),
                "notes": tuple(record["notes"]),
                "verification": Verification(**record["verification"]) if record["verification"] else None,
                "specialised": Specialised(**record["specialised"]) if record["specialised"] else None,
            }
        )
