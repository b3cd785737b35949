"""Where is text cut before its bytes are merged? As GPT-2 cuts it, and SmolLM with digits one by one.

GPT-2's expression, which needs Unicode classes that Python's `re` has not:
's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SUFFIX = re.compile("'(?:s|t|re|ve|m|ll|d)")
# Of a text in which each character is its class: L, N, o, s, and a blank for itself.
_RUN = re.compile(r" ?L+| ?N+| ?o+|[ s]+(?![LNo])|[ s]+")


def pieces(text: str, *, digits: bool) -> Iterator[str]:
    """The text in pieces; `digits`: each digit is cut out first, so that nothing else sees it."""
    if not digits:
        yield from _gpt2(text)
        return
    start = 0
    for at, character in enumerate(text):
        if kind_of(character) == "N":
            yield from _gpt2(text[start:at])
            yield character
            start = at + 1
    yield from _gpt2(text[start:])


def kind_of(character: str) -> str:
    """Its class: L(etter), N(umber), s(pace), o(ther), and a blank for itself."""
    category = unicodedata.category(character)[0]
    if character == " " or category in "LN":
        return character if character == " " else category
    # White_Space of Unicode; Python counts four separators of ASCII as well.
    return "s" if character.isspace() and not "\x1c" <= character <= "\x1f" else "o"


def _gpt2(text: str) -> Iterator[str]:
    kinds = "".join(map(kind_of, text))
    at = 0
    while at < len(text):
        match = _SUFFIX.match(text, at) or _RUN.match(kinds, at)
        end = match.end() if match else len(text)
        yield text[at:end]
        at = end
