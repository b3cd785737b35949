"""What tokens has a model, how is a text made of them, and what text are they? Byte-level BPE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from bareflow_gdb import foreign
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.model.pieces import pieces

NORMAL, SPECIAL, WHOLE = 1, 2, 3
"""As `enum bf_model_token`: of bytes; found as a whole and printed as nothing; found as a whole and printed."""


@dataclass(frozen=True)
class Merge:
    """Two tokens that become one."""

    left: int
    right: int
    joined: int


@dataclass(frozen=True)
class Vocabulary:
    """All tokens of a model, by their ids."""

    texts: tuple[bytes, ...]
    types: bytes
    """NORMAL, SPECIAL or WHOLE of each."""
    merges: tuple[Merge, ...]
    """The first goes first."""
    pieces: str
    """How text is cut before its bytes are merged: "GPT2" or "DIGITS"."""
    bos: int | None = None
    eos: int | None = None
    add_bos: bool = False

    def checked(self) -> Vocabulary:
        """Itself; raises BadData for ids that are not there."""
        count = len(self.texts)
        for name, token in (("begin", self.bos), ("end", self.eos)):
            if token is not None and token >= count:
                raise BadData(f"its token for the {name} of a text is {token:,} of {count:,}; the file is damaged")
        for rank, merge in enumerate(self.merges):
            if max(merge.left, merge.right, merge.joined) >= count:
                raise BadData(f"its merge {rank:,} names a token beyond {count:,}; the file is damaged")
        return self

    @property
    def begins(self) -> int:
        """Tokens that every text begins with."""
        return int(self.add_bos and self.bos is not None)

    @cached_property
    def _bytes(self) -> dict[int, int]:
        """Byte → the token that is this byte alone."""
        found: dict[int, int] = {}
        for token, text in enumerate(self.texts):
            if len(text) == 1 and self.types[token] == NORMAL:
                found.setdefault(text[0], token)
        return found

    @cached_property
    def _ranks(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Two tokens → rank, what they become."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for rank, merge in enumerate(self.merges):
            found.setdefault((merge.left, merge.right), (rank, merge.joined))
        return found

    @cached_property
    def _whole(self) -> tuple[re.Pattern[bytes] | None, dict[bytes, int]]:
        ids = {text: token for token, text in enumerate(self.texts) if text and self.types[token] != NORMAL}
        longest = sorted(ids, key=len, reverse=True)
        return (re.compile(b"|".join(map(re.escape, longest))) if ids else None), ids

    def encode(self, text: str, *, whole: bool = True) -> list[int]:
        """The ids of a text; `whole`: special tokens that stand in it are these tokens.

        Raises UsageError for a byte that the model has no token for.
        """
        data = text.encode("utf-8", "replace")
        found = [self.bos] if self.add_bos and self.bos is not None else []
        pattern, ids = self._whole
        at = 0
        for match in pattern.finditer(data) if pattern and whole else ():
            found += self._encode_plain(data[at : match.start()])
            found.append(ids[match[0]])
            at = match.end()
        return found + self._encode_plain(data[at:])

    def _encode_plain(self, data: bytes) -> list[int]:
        found: list[int] = []
        for piece in pieces(data.decode("utf-8", "replace"), digits=self.pieces == "DIGITS"):
            found += self._merged(piece.encode())
        return found

    def _merged(self, piece: bytes) -> list[int]:
        missing = next((byte for byte in piece if byte not in self._bytes), None)
        if missing is not None:
            raise UsageError(f"this model has no token for the byte 0x{missing:02x}; leave the character out")
        ids = [self._bytes[byte] for byte in piece]
        while True:
            known = [self._ranks[pair] for pair in pairwise(ids) if pair in self._ranks]
            if not known:
                return ids
            ids = self._with(ids, min(known))

    def _with(self, ids: Sequence[int], best: tuple[int, int]) -> list[int]:
        """All pairs of one rank merged, from the left."""
        made: list[int] = []
        at = 0
        while at < len(ids):
            if self._ranks.get((ids[at], ids[at + 1]) if at + 1 < len(ids) else (-1, -1)) == best:
                made.append(best[1])
                at += 2
            else:
                made.append(ids[at])
                at += 1
        return made

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """What the guest prints. Raises UsageError for an id that is not there."""
        found = []
        for token in ids:
            if not 0 <= token < len(self.texts):
                raise UsageError(f"token {token} is not one of {len(self.texts):,}; ids begin at 0")
            if self.types[token] != SPECIAL:
                found.append(self.texts[token])
        return b"".join(found)

    def decode(self, ids: Iterable[int]) -> str:
        """The same as text that a terminal may have."""
        return foreign.lines(self.decode_bytes(ids).decode("utf-8", "replace"))
