"""Which tokens has the small model? Byte-level BPE learnt from its corpus, cut as SmolLM2 cuts text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise

from bareflow_gdb.model.pieces import pieces
from bareflow_gdb.model.vocabulary import NORMAL, SPECIAL, Merge, Vocabulary
from models.small.corpus import BEGIN, END, TURN

MARKS = (BEGIN, TURN, END)


def learnt(texts: Iterable[str], count: int) -> Vocabulary:
    """So many tokens: the marks, the 256 bytes, then the most frequent pairs, one after the other."""
    found = [*(mark.encode() for mark in MARKS), *(bytes([byte]) for byte in range(256))]
    first = len(MARKS)
    frequent = Counter(piece for text in texts for piece in _cut(text) if piece not in MARKS)
    words = {piece: [first + byte for byte in piece.encode()] for piece in frequent}
    merges = []
    while len(found) < count:
        pairs: Counter[tuple[int, int]] = Counter()
        for piece, ids in words.items():
            for pair in pairwise(ids):
                pairs[pair] += frequent[piece]
        # Of equally frequent ones the older tokens.
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(Merge(*best, len(found)))
        words = {piece: _joined(ids, best, len(found)) for piece, ids in words.items()}
        found.append(found[best[0]] + found[best[1]])
    types = bytes([SPECIAL] * first + [NORMAL] * (count - first))
    return Vocabulary(tuple(found), types, tuple(merges), "DIGITS", bos=0, eos=MARKS.index(END), add_bos=True).checked()


def encoded(words: Vocabulary, texts: Iterable[str]) -> Iterator[int]:
    """The tokens of these texts, in which the marks stand for themselves."""
    known: dict[str, list[int]] = {mark: [token] for token, mark in enumerate(MARKS)}
    for text in texts:
        for piece in _cut(text):
            if piece not in known:
                known[piece] = words.encode(piece, whole=False)[words.begins :]
            yield from known[piece]


def _cut(text: str) -> Iterator[str]:
    """Marks, and the pieces of what stands between them."""
    start = at = 0
    while at < len(text):
        mark = next((mark for mark in MARKS if text.startswith(mark, at)), None) if text[at] == "<" else None
        if mark:
            yield from pieces(text[start:at], digits=True)
            yield mark
            start = at + len(mark)
        at += len(mark or "<")
    yield from pieces(text[start:], digits=True)


def _joined(ids: list[int], pair: tuple[int, int], token: int) -> list[int]:
    made: list[int] = []
    at = 0
    while at < len(ids):
        if tuple(ids[at : at + 2]) == pair:
            made.append(token)
            at += 2
        else:
            made.append(ids[at])
            at += 1
    return made
