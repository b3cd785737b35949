"""How is a language model in the guest asked, and its answer ended? By words in the guest's memory.

The guest looks at the question between two tokens; what it answers is printed on COM1. Layout: `bf_model_question`.
"""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.memory.protocol import Memory

MOST_TEXT = layouts.const("BF_QUESTION_TEXT")
"""Bytes of UTF-8."""


def ask(memory: Memory, text: str, tokens: int, *, chat: bool) -> None:
    """Asks for at most so many tokens; `chat`: as a person who talks to the model.

    Raises UsageError when the text is too long or the guest answers something else, BadData when it answers nothing.
    """
    said = text.encode()
    if len(said) > MOST_TEXT:
        raise UsageError(f"that is {len(said):,} bytes, the guest takes {MOST_TEXT:,}; say it in fewer words")
    at = _question(memory)
    if is_answering(memory):
        raise UsageError("the guest is still at another answer; ask again when that is over")
    head = layouts.size("bf_model_question") - MOST_TEXT
    # The word that says that there is a question comes last.
    made = layouts.pack(
        "bf_model_question", tokens=tokens, chat=int(chat), bytes=len(said), text=said.ljust(MOST_TEXT, b"\0")
    )
    memory.write(Address(at + 4), made[4 : head + len(said)], "question")
    _say(memory, at, "BF_ASKED_ANSWER")


def no_more(memory: Memory) -> None:
    """Ends the answer after its next token. Raises BadData when the guest answers nothing."""
    _say(memory, _question(memory), "BF_ASKED_NO_MORE")


def is_answering(memory: Memory) -> bool:
    """Has the guest not come to the end of an answer? Raises BadData when it answers nothing."""
    return memory.read(_question(memory), 4, "question") != bytes(4)


def _say(memory: Memory, at: Address, word: str) -> None:
    memory.write(at, layouts.const(word).to_bytes(4, "little"), "question")


def _question(memory: Memory) -> Address:
    try:
        record = one(memory, "bf_model_record", layouts.const("BF_MODEL_RECORD_ADDRESS"), "model record")
    except BareflowError as error:
        raise BadData(f"there is no model in the guest ({error}); `make llama` starts one that answers") from error
    if record.magic != layouts.const("BF_MODEL_RECORD_MAGIC") or not record.question:
        raise BadData("the guest has no language model that answers (yet); `serial` tells what it says of one")
    return Address(record.question)
