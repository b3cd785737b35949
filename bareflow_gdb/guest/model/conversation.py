"""How is a language model in the guest asked, and its answer ended? By words in the guest's memory.

The guest looks at the question between two tokens; what it answers is printed on COM1. Layout: `bf_model_question`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.model.inference import model_record
from bareflow_gdb.memory.protocol import Memory

MOST_TEXT = layouts.const("BF_QUESTION_TEXT")
"""Bytes of UTF-8."""


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn."""

    temperature: int
    """In 1/65,536, at least 1."""
    top_p: int
    """In 1/65,536: only the likeliest tokens that have this share together."""
    seed: int

    @classmethod
    def of(cls, temperature: float, top_p: float, seed: int) -> Sampling | None:
        """None: the likeliest token, always. Raises UsageError for numbers that there are not."""
        one, most = layouts.const("BF_SAMPLE_ONE"), layouts.const("BF_SAMPLE_MOST")
        if not (math.isfinite(temperature) and 0 <= temperature <= most // one):
            raise UsageError(f"a temperature of {temperature:g} is not between 0 and {most // one}; 0.8 is usual")
        if not 0 < top_p <= 1:
            raise UsageError(f"a share of {top_p:g} is not between 0 and 1; 0.9 is usual")
        if not 0 <= seed < 1 << 32:
            raise UsageError(f"a seed of {seed:,} has not 32 bits; give a number from 0 to {(1 << 32) - 1:,}")
        if not temperature:
            return None
        return cls(max(1, round(temperature * one)), max(1, round(top_p * one)), seed)


def ask(memory: Memory, text: str, tokens: int, *, chat: bool, sampling: Sampling | None = None) -> None:
    """Asks for at most so many tokens; `chat`: as a person who talks to the model.

    Raises UsageError when the text is too long or the guest answers something else, BadData when it answers nothing,
    or does not draw tokens.
    """
    said = text.encode()
    if len(said) > MOST_TEXT:
        raise UsageError(f"that is {len(said):,} bytes, the guest takes {MOST_TEXT:,}; say it in fewer words")
    at = _question(memory)
    if is_answering(memory):
        raise UsageError("the guest is still at another answer; ask again when that is over")
    behind = layouts.offset("bf_model_question", "temperature")
    draws = _draws(memory)
    if sampling is not None and not draws:
        raise BadData("this guest's kernel draws no tokens, it takes the likeliest; build one with debug interface 1.5")
    # The word that says that there is a question comes last.
    how = {name: getattr(sampling, name, 0) for name in ("temperature", "top_p", "seed")}
    made = layouts.pack(
        "bf_model_question", tokens=tokens, chat=int(chat), bytes=len(said), text=said.ljust(MOST_TEXT, b"\0"), **how
    )
    memory.write(Address(at + 4), made[4 : behind - MOST_TEXT + len(said)], "question")
    if draws:
        memory.write(Address(at + behind), made[behind:], "question")
    _say(memory, at, "BF_ASKED_ANSWER")


def _draws(memory: Memory) -> bool:
    try:
        return find_root(memory, scan=False).root.tells(5)
    except BareflowError:
        return False


def no_more(memory: Memory) -> None:
    """Ends the answer after its next token. Raises BadData when the guest answers nothing."""
    _say(memory, _question(memory), "BF_ASKED_NO_MORE")


def is_answering(memory: Memory) -> bool:
    """Has the guest not come to the end of an answer? Raises BadData when it answers nothing."""
    return memory.read(_question(memory), 4, "question") != bytes(4)


def _say(memory: Memory, at: Address, word: str) -> None:
    memory.write(at, layouts.const(word).to_bytes(4, "little"), "question")


def _question(memory: Memory) -> Address:
    record = model_record(memory)
    if not record.question:
        raise BadData("the guest has no language model that answers (yet); `serial` tells what it says of one")
    return Address(record.question)
