"""What was a swap worth: cycles per call before and after, and when has it paid for itself?

Nothing is supposed of how the times of calls are spread: a host that looks away for a moment makes single calls a
thousand times longer. So medians are compared, with intervals that depend on the order of the samples alone: of a
median by the binomial distribution, of the difference by Mann and Whitney's test (Hodges and Lehmann).

The host's own speed changes between one version's calls and the next one's. So the interval of the difference is made
wider: by what a version's first and second half of samples differ, and by NOISE at least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bareflow_gdb.guest.code.costs import VersionCost

CONFIDENCE = 0.95
_DEVIATIONS = 1.96
NOISE = 0.1
"""Of a call: equal code was seen to differ by 6 % on a busy host."""
FEWEST = 8
"""Samples on each side, below which no difference is told."""

PAID, NOT_YET, FASTER = "paid off", "not paid off yet", "faster"
SLOWER, EQUAL, UNKNOWN = "slower", "no difference", "unknown"


@dataclass(frozen=True)
class Measured:
    """Cycles of one call of a version: the median, and between which it lies with CONFIDENCE."""

    cycles: float
    low: int | None
    """None = too few samples."""
    high: int | None
    samples: int
    calls: int | None


@dataclass(frozen=True)
class Worth:
    """What one swap was worth; cycles are TSC ticks."""

    verdict: str
    """PAID, NOT_YET (it is faster, and was not called often enough), FASTER (what it cost is not known), SLOWER (to be
    regretted), EQUAL or UNKNOWN."""
    before: Measured | None = None
    after: Measured | None = None
    saved: float | None = None
    """Cycles per call; less than 0 when it is slower."""
    saved_low: int | None = None
    """Between these with CONFIDENCE, the host's noise considered."""
    saved_high: int | None = None
    made: int | None = None
    """Cycles from the threshold to the publishing store, which the guest spent on the new version."""
    break_even: int | None = None
    """Calls after which it has saved what it cost; None when it saves nothing, or that is not known."""
    net: int | None = None
    """Cycles won until now, less what it cost; less than 0 is the regret."""
    why: str = ""
    """Of what is not known."""


def judge(before: VersionCost | None, after: VersionCost | None, made: int | None) -> Worth:
    """made: None when the guest did not compile it itself, or that is not known."""
    if before is None or after is None:
        which = "before" if before is None else "after"
        return Worth(UNKNOWN, made=made, why=f"the kernel has no record of the version that ran {which} it")
    sides = measured(before), measured(after)
    short = min(len(before.cycles), len(after.cycles))
    if short < FEWEST:
        few = "before" if len(before.cycles) < FEWEST else "after"
        calls = "1 call was" if short == 1 else f"{short} calls were"
        why = f"{calls} measured {few} it, fewer than {FEWEST}"
        return Worth(UNKNOWN, *sides, made=made, why=why)
    saved, low, high = shift(before.cycles, after.cycles)
    noise = math.ceil(max(NOISE * median(before.cycles), _drift(before.cycles), _drift(after.cycles)))
    low, high = low - noise, high + noise
    if low <= 0 <= high:
        net = None if made is None else -made
        return Worth(EQUAL, *sides, saved, low, high, made, net=net)
    net = None if made is None or after.calls is None else round(saved * after.calls) - made
    if high < 0:
        return Worth(SLOWER, *sides, saved, low, high, made, net=net)
    even = None if made is None else math.ceil(made / saved)
    verdict = FASTER if net is None else PAID if net >= 0 else NOT_YET
    why = "" if made is not None else "what it cost the guest to make it is not known"
    return Worth(verdict, *sides, saved, low, high, made, even, net, why)


def measured(cost: VersionCost) -> Measured | None:
    """None without samples."""
    samples = sorted(cost.cycles)
    if not samples:
        return None
    rank = _rank(len(samples))
    low, high = (samples[rank - 1], samples[-rank]) if rank else (None, None)
    return Measured(median(samples), low, high, len(samples), cost.calls)


def _rank(count: int) -> int:
    """Between the n-th smallest and the n-th largest sample lies the median with CONFIDENCE; 0 = nowhere."""
    below, rank = 0.0, 0
    while rank < count:
        below += math.comb(count, rank) / 2**count
        if 2 * below > 1 - CONFIDENCE:
            break
        rank += 1
    return rank


def _drift(samples: Sequence[int]) -> float:
    """By how much the samples changed while they were taken."""
    half = len(samples) // 2
    return abs(median(samples[:half]) - median(samples[half:]))


def shift(before: Sequence[int], after: Sequence[int]) -> tuple[float, int, int]:
    """By how much a call is shorter: the median of all differences, and its interval, as if the host were steady."""
    differences = sorted(old - new for old in before for new in after)
    n, m = len(before), len(after)
    rank = max(0, math.floor(n * m / 2 - _DEVIATIONS * math.sqrt(n * m * (n + m + 1) / 12)))
    return median(differences), differences[rank], differences[-1 - rank]
