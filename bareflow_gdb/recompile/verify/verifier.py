"""Do two versions of a function do the same? The worker's side of a trial."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bareflow_gdb.recompile.verify.emulator import Effect, Emulator
from bareflow_gdb.recompile.verify.inputs import Pair, smaller
from bareflow_gdb.recompile.verify.trial import BLOCK, Code, Trial, Verdict, named, same_word, signed

SECONDS = 0.02
"""Of processor time: no more inputs after that, but for the guest's own."""
INSTRUCTIONS, INSTRUCTIONS_REQUIRED = 200_000, 5_000_000
"""Of the published code with one input, and with one of the guest's own."""
_SLACK, _SPARE = 8, 100_000
"""So many times more, and so many more, for the new code. Then it is not known whether it would return: at a high level
LLVM makes one step of a loop, and a loop of recursion."""
PLENTY, SMALL = 40_000_000, 256
"""With so many, and an input of the guest's own or no larger than that, it is taken not to return."""
_SMALLER_SECONDS = 0.2
LARGE = 0xFFFF
OVERFLOW = " (the smaller arguments that were tried agree: signed overflow in its source may be the reason)"
_MOST_SMALLER = 64
_RETURNS = b"\xc3"


@dataclass(frozen=True)
class _Difference:
    words: str
    breaks_caller: bool


class _Unusable(Exception):
    """The published code cannot be run with this input."""


def warm_up(emulator: Emulator) -> None:
    """Runs a trial, so that all that it needs has been used once."""
    old, new = Code(0, ()), Code(BLOCK, ())
    verify(emulator, Trial(old, new, 1, 0, BLOCK, ((0, 2 * BLOCK),), ((0, 0), (1, 1)), 1, True, ()), 2 * _RETURNS)


def verify(emulator: Emulator, trial: Trial, new: bytes) -> Verdict:
    """Runs both versions with one input after the other, until they differ."""
    started = time.process_time()
    placed = {trial.code_address: new[: trial.code_size], trial.rodata_address: new[trial.code_size :]}
    emulator.load(trial.ranges, {address: data for address, data in placed.items() if data})
    ran: list[int] = []
    noted = ""
    left_out: list[str] = []
    for number, pair in enumerate(trial.inputs):
        required = number < trial.required
        if not required and time.process_time() - started > SECONDS:
            break
        try:
            difference = _difference(emulator, trial, pair, own=required)
        except _Unusable as reason:
            left_out.append(str(reason))
            continue
        ran.append(number)
        if difference is not None and (trial.results_count or difference.breaks_caller):
            pair, difference = _smallest(emulator, trial, pair, difference)
            return Verdict(len(ran), _sentence(pair, difference), difference.breaks_caller, "", _since(started))
        noted = noted or (_sentence(pair, difference) if difference is not None else "")
    # Its usual input comes first, and is the one that a reader would ask about.
    not_run = left_out[0] if left_out else ""
    return Verdict(len(ran), noted, False, not_run, _since(started), tuple(ran), emulator.written)


def _since(started: float) -> float:
    return round((time.process_time() - started) * 1e3, 3)


def _difference(emulator: Emulator, trial: Trial, pair: Pair, *, own: bool) -> _Difference | None:
    most = INSTRUCTIONS_REQUIRED if own else INSTRUCTIONS
    old = emulator.call(trial.old.entry, *pair, most)
    if old.ended:
        raise _Unusable(f"the published code {old.ended}")
    decides = own or all(abs(value) <= SMALL for value in pair)
    new = emulator.call(trial.new.entry, *pair, PLENTY if decides else _SLACK * most + _SPARE)
    if new.exhausted and not decides:
        raise _Unusable(f"the new code {new.ended}")
    if new.ended or new.broken:
        return _Difference(f"the new code {new.ended or new.broken}", True)
    if not same_word(trial, old.result, new.result):
        return _Difference(f"returns {signed(new.result)}, the published code {signed(old.result)}", False)
    address = next(_changed(emulator, trial, old, new), None)
    if address is None:
        return None
    words = (_word_at(emulator, effect, address) for effect in (new, old))
    told = ", the published code ".join(f"0x{word:08x}" for word in words)
    return _Difference(f"leaves {told} {named(trial, address)}", False)


def _changed(emulator: Emulator, trial: Trial, old: Effect, new: Effect) -> Iterator[int]:
    """Addresses of the words that the calls left different."""
    for block in sorted({*old.memory, *new.memory}):
        before = emulator.pristine(block)
        one, other = old.memory.get(block, before), new.memory.get(block, before)
        if one == other:
            continue
        words = struct.Struct(f"<{BLOCK // 4}I")
        pairs = zip(words.unpack(one), words.unpack(other), strict=True)
        for index, (first, second) in enumerate(pairs):
            if first != second and not same_word(trial, first, second):
                yield block + 4 * index


def _word_at(emulator: Emulator, effect: Effect, address: int) -> int:
    block = address & -BLOCK
    data = effect.memory.get(block, emulator.pristine(block))
    return int.from_bytes(data[address - block : address - block + 4], "little")


def _smallest(emulator: Emulator, trial: Trial, pair: Pair, difference: _Difference) -> tuple[Pair, _Difference]:
    """The input nearest to zero that is found to differ in the same way."""
    tries, until = itertools.count(), time.process_time() + _SMALLER_SECONDS
    found = True
    while found:
        found = False
        for other in smaller(pair):
            if next(tries) >= _MOST_SMALLER or time.process_time() > until:
                return pair, difference
            try:
                again = _difference(emulator, trial, other, own=False)
            except _Unusable:
                continue
            if again is not None and again.breaks_caller == difference.breaks_caller:
                pair, difference, found = other, again, True
                break
    return pair, difference


def _sentence(pair: Pair, difference: _Difference) -> str:
    large = max(map(abs, pair)) > LARGE and not difference.breaks_caller
    return f"with ({pair[0]}, {pair[1]}) {difference.words}{OVERFLOW if large else ''}"
