"""Every question put to a guest that may lie: an answer or the suite's own error, in time, harmless."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.render import tables
from bareflow_gdb.render.jsonable import dumps

SECONDS = 5.0
"""Far above the few milliseconds that a question takes: only an endless loop or an endless table is meant."""

ADDRESSES = (0, 0x600, 0x10004, 0x20000, 0x29A2C, 0x200220, 0x2C0020, 0x300040, 0x600010, 0xB8000, 0xFFFFFFFF)
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
    ]
    for question, show in questions:
        started = time.perf_counter()
        try:
            record = question()
            text = show(record) if show else ""
            assert not HARMFUL.search(text), text
            dumps(record)
        except BareflowError as error:
            sentence = str(error)
            assert sentence
            assert not HARMFUL.search(sentence), sentence
        assert time.perf_counter() - started < SECONDS
