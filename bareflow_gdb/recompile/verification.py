"""Is new code verified before the guest gets it? What it is compared with, and what follows from what came of it.

The worker runs the code that is published and the new one over one copy of guest memory, see recompile/verify/. What
code for the x87 computes is compared on the host's own CPU after that, where it can run programs for i386.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.events import read_last
from bareflow_gdb.guest.code.functions import Function, find_version
from bareflow_gdb.guest.code.outcome import Verification
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.recompile import machine_code
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.link import Linked, Room
from bareflow_gdb.recompile.refusal import Differs
from bareflow_gdb.recompile.verify import inputs
from bareflow_gdb.recompile.verify.native import CannotRun, Native, Ran
from bareflow_gdb.recompile.verify.trial import BLOCK, Code, Span, Trial, Verdict, named, same_word, signed

EVENTS = 4096
"""The last ones of the ring, among which calls are looked for."""
_LARGEST = 64 << 10
"""Bytes of a published version that are believed."""
_MOST_SYMBOLS = 64
X87 = (
    "it has x87 code, which the host's emulator does not compute rightly, and {}; what its caller relies on was "
    "checked with {} inputs"
)
ROUNDED = "x87 code may round what it stores differently at each level: {}"


class Check:
    """New code that is being compared with the published code. It goes on between the calls of `poll`."""

    def __init__(self, compiler: Compiler, trial: Trial, against: str, native: Native | None, *, edited: bool) -> None:
        """`against` is the published version; `native` is there for x87 code; `edited`: it is meant to differ."""
        self._compiler = compiler
        self._trial = trial
        self._against = against
        self._native = native
        self._edited = edited
        self._verdict: Verdict | None = None

    def poll(self) -> Verification | None:
        """What came of it, None while it goes on; raises Differs when the guest must not get it, CompilerDied."""
        if self._verdict is None:
            self._verdict = self._compiler.poll_trial()
            return self._after_trial(self._verdict) if self._verdict is not None else None
        assert self._native is not None
        try:
            ran = self._native.poll()
        except CannotRun as error:
            return self._not_computed(self._verdict, str(error))
        if ran is None:
            return None
        self._native.close()
        return self._after_native(self._verdict, ran)

    def _after_trial(self, verdict: Verdict) -> Verification | None:
        if verdict.difference and (verdict.breaks_caller or self._trial.results_count):
            raise self._differs(verdict.difference)
        if not verdict.compared:
            return self._said("not verified", verdict, verdict.not_run or "no input was tried")
        if self._native is None:
            return self._said("differs" if verdict.difference else "agrees", verdict, verdict.difference)
        try:
            self._native.start(self._tried(verdict), [(block, block + BLOCK) for block in verdict.written])
        except CannotRun as error:
            return self._not_computed(verdict, str(error))
        return None

    def _after_native(self, verdict: Verdict, ran: Sequence[Ran]) -> Verification:
        tried = self._tried(verdict)[: len(ran)]
        if not ran:
            return self._not_computed(verdict, "it did not say what it computed on this host")
        noted = ""
        for pair, did in zip(tried, ran, strict=False):
            at = f"with ({pair[0]}, {pair[1]})"
            if not same_word(self._trial, did.old, did.new):
                words = f"{at} returns {signed(did.new)}, the published code {signed(did.old)}"
                if not self._edited:
                    raise self._differs(words)
                return self._said("differs", verdict, words, native=True)
            changed = [item for item in did.changed if not same_word(self._trial, item[1], item[2])]
            for address, old, new in changed[:1]:
                where = named(self._trial, address)
                noted = noted or f"{at} leaves 0x{new:08x}, the published code 0x{old:08x} {where}"
        reason = ROUNDED.format(noted) if noted else ""
        return self._said("agrees", verdict, reason, native=True, count=len(ran))

    def _tried(self, verdict: Verdict) -> list[inputs.Pair]:
        return [self._trial.inputs[number] for number in verdict.ran if 0 <= number < len(self._trial.inputs)]

    def _differs(self, difference: str) -> Differs:
        if self._native is not None:
            self._native.close()
        return Differs(
            f"the new code differs from {self._against}: {difference}; the guest keeps the code that it has "
            "(--no-verify hands over what differs)"
        )

    def _not_computed(self, verdict: Verdict, why: str) -> Verification:
        if self._native is not None:
            self._native.close()
        return self._said("not verified", verdict, X87.format(why, verdict.compared))

    def _said(
        self, state: str, verdict: Verdict, reason: str, *, native: bool = False, count: int | None = None
    ) -> Verification:
        compared = verdict.compared if count is None else count
        seen = min(self._trial.required - 1, compared)
        return Verification(state, self._against, compared, seen, native, reason, verdict.milliseconds)


def begin(
    compiler: Compiler,
    memory: Memory,
    root: Root,
    function: Function,
    linked: Linked,
    room: Room,
    shared: list[GuestSymbol],
    *,
    edited: bool,
) -> Check | Verification:
    """Begins to compare; a Verification says at once why that cannot be done. Raises ReadError, OSError.

    `edited`: the new code was made from other source, so its results are meant to differ.
    """
    if memory.packets or compiler.snapshot is None:
        return _not_verified("guest memory comes by packets, and all of it would take too long")
    at = root.function_table + function.index * layouts.size("bf_function")
    record = one(memory, "bf_function", at, "function record")
    version = find_version(memory, root, record.version)
    entry = int.from_bytes(memory.read(record.slot, 4, "published code pointer"), "little")
    if version is None or not version.code <= entry < version.code + min(version.code_size, _LARGEST):
        return _not_verified("the code that is published is none of the versions that the kernel keeps")
    published = Published(
        code_name(function.name, version.level, version.number),
        entry,
        (_span(version.code, version.code_size), _span(version.rodata, version.rodata_size)),
    )
    usual = (int(record.arguments[0]), int(record.arguments[1]))
    pairs = inputs.choose(usual, _seen(memory, root, function.index), function.name)
    return compare(compiler, memory, published, linked, room, pairs, shared, edited=edited)


@dataclass(frozen=True)
class Published:
    """The code that new code is compared with."""

    title: str
    entry: int
    spans: tuple[Span, Span]
    """Of its code, and of its read-only data."""


def compare(
    compiler: Compiler,
    memory: Memory,
    published: Published,
    linked: Linked,
    room: Room,
    pairs: tuple[tuple[inputs.Pair, ...], int],
    shared: Sequence[GuestSymbol] = (),
    *,
    edited: bool,
) -> Check | Verification:
    """The same, once it is known what is published; `pairs` as `inputs.choose` gives them."""
    if memory.packets or compiler.snapshot is None:
        return _not_verified("guest memory comes by packets, and all of it would take too long", published.title)
    against, (start, end) = published.title, published.spans[0]
    old = memory.read(start, min(end - start, _LARGEST), "published code")
    used = machine_code.uses(old) | machine_code.uses(linked.code)
    if "clock" in used:
        return _not_verified("it reads the CPU's clock, which never says the same twice", against)
    if "avx" in used:
        return _not_verified("it has AVX instructions, which the host's emulator does not compute", against)
    ranges = compiler.snapshot.take(memory)
    places = [_span(room.code, len(linked.code)), _span(room.rodata, len(linked.rodata))]
    if not all(start == end or any(a <= start and end <= b for a, b in ranges) for start, end in places):
        return _not_verified("the guest wants it outside of the memory in which its code lies", against)
    trial = Trial(
        old=Code(published.entry, published.spans),
        new=Code(room.code + linked.entry_offset, tuple(places)),
        code_size=len(linked.code),
        code_address=room.code,
        rodata_address=room.rodata,
        ranges=ranges,
        inputs=pairs[0],
        required=pairs[1],
        results_count=not (edited or "x87" in used),
        symbols=tuple((item.name, int(item.address), item.size) for item in shared[:_MOST_SYMBOLS]),
    )
    native = None
    if "x87" in used:
        native = Native(
            (trial.old.entry, trial.new.entry),
            {span: compiler.snapshot.content(span) for span in trial.ranges},
            {room.code: linked.code, room.rodata: linked.rodata},
        )
    compiler.begin_trial(trial, linked.code + linked.rodata)
    return Check(compiler, trial, against, native, edited=edited)


def _not_verified(reason: str, against: str = "") -> Verification:
    return Verification("not verified", against, 0, 0, False, reason, None)


def _seen(memory: Memory, root: Root, function: int) -> list[inputs.Pair]:
    """The arguments of the last calls in the ring, the newest first; none when the ring does not say."""
    with contextlib.suppress(BareflowError):
        events = read_last(memory, root, 0, EVENTS, frozenset({"call"}))
        fields = [event.fields() for event in reversed(events) if event.id == function]
        return [(item["a"], item["b"]) for item in fields]
    return []


def _span(address: int, size: int) -> Span:
    return address, address + size
