"""How do single raw values become something a person or a program may see?

Addresses get a type of their own, so that renderers know what to print in hexadecimal; enum numbers become
lower-case words. What bytes become as text: foreign.py.
"""

from __future__ import annotations

from typing import NewType

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import UsageError

Address = NewType("Address", int)
"""A guest address: 32-bit physical, which equals linear."""

NOWHERE = Address(0)
"""No place: what the kernel does not keep, or has not got."""

Word = NewType("Word", int)
"""A 32-bit pattern that is read in hexadecimal: a CRC, a magic number, a register."""

TIERS = ("O0", "O1", "O2", "O3")
"""The tiers by their level."""

NO_MINIMUM = (1 << 64) - 1
"""What a profiler's minimum holds before the first call."""

_PREFIX = {
    "bf_boot_stage": "BF_STAGE_",
    "bf_disk_method": "BF_DISK_",
    "bf_a20_method": "BF_A20_",
    "bf_fatal": "BF_FATAL_",
    "bf_variant": "BF_VARIANT_",
    "bf_asks": "BF_ASKS_",
    "bf_hook": "BF_HOOK_",
    "bf_scenario": "BF_SCENARIO_",
    "bf_provider": "BF_PROVIDER_",
    "bf_version_state": "BF_VERSION_",
    "bf_reason": "BF_REASON_",
    "bf_pool_kind": "BF_POOL_",
    "bf_block_state": "BF_BLOCK_",
    "bf_owner_kind": "BF_OWNER_",
    "bf_ring_mode": "BF_RING_",
    "bf_event_type": "BF_EVENT_",
    "bf_mail_state": "BF_MAIL_",
    "bf_control": "BF_CONTROL_",
    "bf_swap_phase": "BF_PHASE_",
    "bf_feature": "BF_FEATURE_",
    "bf_model_state": "BF_MODEL_STATE_",
    "bf_transfer": "BF_TRANSFER_",
    "bf_inference_state": "BF_INFERENCE_",
    "bf_answer_end": "BF_END_",
    "bf_number": "BF_NUMBER_",
}


class TooWide(UsageError):
    """An address of more than 32 bits."""


def checked_address(value: int) -> Address:
    """`value`, when a 32-bit guest can have it as an address; raises UsageError: nothing is cut off."""
    if value < 0:
        raise UsageError(f"{value} is not an address; try 0x10000")
    if value >> 32:
        raise TooWide(
            f"0x{value:x} has more than 32 bits: no 32-bit guest, as BareFlow's are, has such an address;"
            " gdb's own commands look at one of a 64-bit guest"
        )
    return Address(value)


def tier_of_level(text: str) -> str:
    """The tier of a level that a user wrote, "3" is O3; raises UsageError."""
    if text not in map(str, range(len(TIERS))):
        raise UsageError(f"there is no level {text!r}; levels are 0 to {len(TIERS) - 1}")
    return f"O{text}"


def word(enum: str, value: int) -> str:
    """`word("bf_boot_stage", 9)` is "core"; a value that the contract does not know is "unknown(77)"."""
    return layouts.enum_name(enum, value).removeprefix(_PREFIX[enum]).lower()


def words(enum: str, mask: int) -> tuple[str, ...]:
    """The names of the bits that are set in a word of flags, unknown bits in hexadecimal."""
    known = layouts.enum_values(enum)
    names = [name.removeprefix(_PREFIX[enum]).lower() for name, bit in known.items() if mask & bit]
    rest = mask & ~sum(known.values())
    return (*names, f"0x{rest:x}") if rest else tuple(names)


def feature_name(feature: str) -> str:
    """A word of `enum bf_feature` as manuals write it: SSE4.1."""
    return feature.upper().replace("_", ".")


def code_name(function: str, tier: int, version: int | None = None) -> str:
    """What a version is called: `primes@O3 #24`; `primes@O3` where the kernel does not number them."""
    return f"{function}@O{tier}" if version is None else f"{function}@O{tier} #{version}"


def microseconds(ticks: int, tsc_hz: int) -> float | None:
    """TSC ticks as microseconds, rounded to 0.001; None when the guest has not measured its clock."""
    return round(ticks * 1e6 / tsc_hz, 3) if tsc_hz else None


def milliseconds(ticks: int, tsc_hz: int) -> float | None:
    """TSC ticks as milliseconds, rounded to 0.001; None when the guest has not measured its clock."""
    return round(ticks * 1e3 / tsc_hz, 3) if tsc_hz else None
