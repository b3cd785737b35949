"""Which records of a ring are missing? Told by the sequence numbers of those that are there, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST = 10_000
Numbers = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Loss:
    """Records that a ring's reader never got: `count` of them from sequence number `first` on."""

    ring: int
    first: int
    count: int


class Gaps:
    """What is missing between the first and the last event of each ring; `parts` are tables of `ring` and `seq`."""

    def __init__(self, parts: Iterable[Any]) -> None:
        runs: dict[int, list[tuple[Numbers, Numbers]]] = {}
        for part in parts:
            rings, numbers = (part.column(name).to_numpy() for name in ("ring", "seq"))
            for ring in np.unique(rings).tolist():
                runs.setdefault(ring, []).append(_runs(np.sort(numbers[rings == ring])))
        self._rings = [(ring, *_between(pieces)) for ring, pieces in sorted(runs.items())]

    @property
    def lost(self) -> int:
        """How many records are missing in all."""
        return sum(int(counts.sum()) for _, _, counts in self._rings)

    def __iter__(self) -> Iterator[Loss]:
        for ring, firsts, counts in self._rings:
            for at in range(len(firsts)):
                yield Loss(ring, int(firsts[at]), int(counts[at]))


def _runs(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """The first and the last number of each run in sorted numbers; one that comes twice is there once."""
    ends = np.flatnonzero(np.diff(numbers) > 1)
    return numbers[np.concatenate(([0], ends + 1))], numbers[np.concatenate((ends, [len(numbers) - 1]))]


def _between(pieces: list[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    """The first missing number between runs, and how many are missing there."""
    firsts, lasts = (np.concatenate(side) for side in zip(*pieces, strict=True))
    order = np.argsort(firsts, kind="stable")
    firsts, before = firsts[order][1:], np.maximum.accumulate(lasts[order])[:-1]
    gap = (firsts > before) & (firsts - before > 1)
    return before[gap] + np.uint64(1), (firsts - before)[gap] - np.uint64(1)
