"""Why can a function not be recompiled? The host's refusals, each with the reason that the guest is told."""

from __future__ import annotations

from bareflow_gdb.errors import BareflowError


class Refused(BareflowError):
    """The host cannot make this version; `reason` is the constant of enum bf_reason for the mailbox."""

    reason = "BF_REASON_CANCELLED"


class BadBitcode(Refused):
    """LLVM or this project's rules refuse the bitcode."""

    reason = "BF_REASON_BAD_BITCODE"


class LinkError(Refused):
    """The object cannot be linked."""

    reason = "BF_REASON_LINK_FAILED"


class CompilerDied(Refused):
    """The worker process ended, or did not answer in time."""

    reason = "BF_REASON_COMPILER_DIED"


class BadRequest(Refused):
    """The guest's request cannot be right."""

    reason = "BF_REASON_BAD_BOUNDS"


class NotExecutable(Refused):
    """The guest's CPU has not the instructions that the code is to have."""

    reason = "BF_REASON_NOT_EXECUTABLE"


class Differs(Refused):
    """The new code does something else than the published code."""

    reason = "BF_REASON_DIFFERS"


class NoRoom(Refused):
    """There is no place for the code in the guest."""

    reason = "BF_REASON_NO_MEMORY"


class NotSafe(Refused):
    """A kernel without a mailbox is in no state in which its code pointer may be changed from outside."""

    reason = "BF_REASON_CANCELLED"
