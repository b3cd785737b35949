"""Every question put to a guest that may lie: an answer or the suite's own error, in time, harmless."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from asking import ask, text_of

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.cpu import CONTROL, GENERAL, CpuRegisters, SegmentRegister
from bareflow_gdb.questions import registry
from bareflow_gdb.render.jsonable import dumps, dumps_answer

SECONDS = 5.0
"""Of the processor, far above the few milliseconds of a question: only an endless loop or table is meant."""

ADDRESSES = (0, 0x600, 0x10004, 0x20000, 0x29A2C, 0x200220, 0x2C0020, 0x300040, 0x600010, 0xB8000, 0xFFFFFFFF)
# A CPU whose tables and stack lie where a hostile guest keeps noise; a real one's registers can lead anywhere.
REGISTERS = CpuRegisters(
    general={**dict.fromkeys(GENERAL, 0), "eip": 0x10010, "esp": 0x8FE00, "ebp": 0x8FE10},
    segments={name: SegmentRegister(8, 0, 0xFFFFFFFF) for name in ("cs", "ss", "ds", "es")}
    | {"gdt": SegmentRegister(0, 0x200000, 0xFFFF), "idt": SegmentRegister(0, 0x2B000, 0xFFFF)},
    control={**dict.fromkeys(CONTROL, 0), "cr0": 0x11},
)
FEW_ADDRESSES = (0x30000, 0x200020, 0xFFFFFFFF)
HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


GIVEN: dict[str, list[dict[str, object]]] = {
    "modules": [{"check": True}],
    "pools": [{"check": True}],
    "identify": [{"address": at} for at in ADDRESSES],
    "header": [{"module": at, "check": True} for at in (*FEW_ADDRESSES, "alpha", "fibonacci", "nobody")],
    "block": [{"address": at} for at in FEW_ADDRESSES],
    "stack": [{}, *({"ebp": at} for at in (0x8FF00, *FEW_ADDRESSES))],
    "bitcode": [{"function": name} for name in ("alpha", "primes")],
    "disas": [{"place": at} for at in (*FEW_ADDRESSES, "alpha", "primes@O3", "alpha #1")],
}
"""What the questions are asked with; without a word where nothing stands here."""


def ask_everything(guest: Guest) -> None:
    """Every question with its text and its JSON: an answer or the suite's own error, each in time."""
    guest.memory.cpu = lambda: REGISTERS  # type: ignore[method-assign]
    for name in registry.names():
        for given in GIVEN.get(name, [{}]):
            _in_time(lambda name=name, given=given: _ask(guest, name, given))  # type: ignore[misc]
    for read in ("mailbox", "bitcode", "rings", "events"):
        _in_time(lambda read=read: dumps(getattr(guest.kernel(), read)()))  # type: ignore[misc]


def _ask(guest: Guest, name: str, given: dict[str, object]) -> None:
    answer = ask(guest, name, **given)
    text = text_of(name, answer.record)
    assert not HARMFUL.search(text), text
    dumps_answer(answer)


def _in_time(question: Callable[[], object]) -> None:
    started = time.process_time()
    try:
        question()
    except BareflowError as error:
        sentence = str(error)
        assert sentence
        assert not HARMFUL.search(sentence), sentence
    assert time.process_time() - started < SECONDS
