"""Every question put to a guest that may lie: an answer or the suite's own error, in time, harmless."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.cpu import CONTROL, GENERAL, CpuRegisters, SegmentRegister
from bareflow_gdb.render import tables
from bareflow_gdb.render.jsonable import dumps

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


def ask_everything(guest: Guest) -> None:
    """Every question with its table and its JSON: an answer or the suite's own error, each in time."""
    questions: list[tuple[Callable[[], object], Callable[..., str] | None]] = [
        (guest.status, tables.status),
        (guest.boot, tables.boot),
        (lambda: guest.modules(check=True), tables.modules),
        (lambda: guest.pools(check=True), tables.pools),
        (guest.profile, tables.profile),
        (guest.jit, tables.jit),
        (guest.swaps, tables.swaps),
        (guest.exception, tables.exception),
        (guest.log, tables.log),
        (guest.mailbox, None),
        (guest.bitcode, None),
        (guest.rings, None),
        (guest.events, None),
        *((lambda at=at: guest.identify(at), tables.identify) for at in ADDRESSES),
        *((lambda at=at: guest.header(at, check=True), tables.header) for at in FEW_ADDRESSES),
        *((lambda at=at: guest.block(at), tables.block) for at in FEW_ADDRESSES),
        *((lambda at=at: guest.stack(ebp=at), tables.stack) for at in (0x8FF00, *FEW_ADDRESSES)),
        *((lambda name=name: guest.header(name), tables.header) for name in ("alpha", "fibonacci", "nobody")),
        *((lambda name=name: guest.bitcode_of(name), tables.bitcode) for name in ("alpha", "primes")),
        (guest.cache, tables.cache),
        (guest.cpu, tables.cpu),
        (guest.irq, tables.irq),
        (guest.stack, tables.stack),
        (guest.screen, tables.screen),
        (guest.disk, tables.disk),
        (guest.serial, tables.serial),
    ]
    guest.memory.cpu = lambda: REGISTERS  # type: ignore[method-assign]
    for question, show in questions:
        started = time.process_time()
        try:
            record = question()
            text = show(record) if show else ""
            assert not HARMFUL.search(text), text
            dumps(record)
        except BareflowError as error:
            sentence = str(error)
            assert sentence
            assert not HARMFUL.search(sentence), sentence
        assert time.process_time() - started < SECONDS
