"""How do bytes stand for chance? A target draws from them instead: who changes a byte changes one decision."""

from __future__ import annotations

from random import Random


class Choices(Random):
    """Draws from bytes; when they are at their end, from a generator that they are the seed of.

    The same bytes, the same damage.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._rest = Random(data)
        super().__init__(0)

    def random(self) -> float:
        return self.getrandbits(16) / 0x10000

    def getrandbits(self, k: int, /) -> int:
        size = -(-k // 8)
        taken = self._data[self._at : self._at + size]
        self._at += size
        if len(taken) < size:
            return self._rest.getrandbits(k)
        return int.from_bytes(taken, "little") & (1 << k) - 1
