"""What is told of code pointers that are looked at again and again: what is new, and what a look came too late for."""

from __future__ import annotations

import pytest
from stock_guest import JIT, StockGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.code.events import Event
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.pointers import Pointers
from bareflow_gdb.tracing.events import decode
from bareflow_gdb.tracing.segments import merged, to_events
from bareflow_gdb.tracing.source import Seen

STEP = layouts.size("jit_function_entry")


def field(index: int, name: str) -> int:
    at = layouts.offset("adaptive_jit", "functions") + index * STEP
    return JIT + at + layouts.offset("jit_function_entry", name)


class Watched:
    """A stock kernel made of bytes, and what is seen of it. `sum` is its function 1, at O0."""

    def __init__(self) -> None:
        self.stock = StockGuest()
        self.memory = self.stock.build()
        self.seen = Seen(16, Pointers(Guest.attach(self.memory)))
        self.seen.begin()

    def compile(self, index: int, level: int, offset: int, *, publish: bool = True) -> int:
        """Puts code of a level into the function's buffer, and the pointer to it."""
        code = self.stock.buffer(index) + offset
        for name in (f"code_v{level}", *(("current_code",) if publish else ())):
            self.memory.put(field(index, name), code.to_bytes(4, "little"))
        used = field(index, "jit_ctx") + layouts.offset("jit_context", "code_size")
        self.memory.put(used, (offset + 64).to_bytes(4, "little"))
        return code

    def events(self) -> list[Event]:
        return list(decode(to_events(merged(self.seen.batch()))))


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nothing_is_told_of_what_was_there_before(watched: Watched) -> None:
    watched.seen.look()
    assert watched.events() == [] and watched.seen.missed() == 0


def test_a_swap_has_the_count_of_its_own_moment_also_when_nothing_was_counted_since(watched: Watched) -> None:
    watched.seen.count(0)
    before = watched.events()
    code = watched.compile(1, 1, 0)
    watched.seen.look(still=True)
    counted, published = watched.events()
    assert [event.fields()["calls"] for event in before] == [1500, 7]
    assert (counted.type, counted.id, counted.fields()["calls"], counted.tsc) == ("counted", 1, 7, published.tsc)
    said = published.fields()
    assert (published.type, said["new"], said["level"], said["version"]) == ("publish", code, 1, 6)
    assert (said["slot"], published.ring, published.seq) == (field(1, "current_code"), 16, 3)
    assert watched.seen.missed() == 0


def test_of_two_swaps_between_two_looks_one_is_missed(watched: Watched) -> None:
    first = watched.stock.buffer(1)
    old = int.from_bytes(watched.memory.read(field(1, "current_code"), 4, "slot"), "little")
    watched.compile(1, 1, 0)
    watched.compile(1, 2, 64)
    watched.memory.put(field(1, "compiled_level"), (2).to_bytes(4, "little"))
    watched.seen.look()
    (said,) = [event.fields() for event in watched.events() if event.type == "publish"]
    assert (said["old"], said["new"], said["level"]) == (old, first + 64, 2)
    account = watched.seen.account("tables", "seen by polling")
    assert (account.missed, account.events, account.lost, account.clock) == (1, 2, 0, "host")


def test_a_new_function_is_told_with_its_first_code(watched: Watched) -> None:
    entry = watched.memory.read(field(1, "profiler_id"), STEP, "entry")
    watched.memory.put(field(2, "profiler_id"), entry)
    watched.seen.look(still=True)
    assert watched.events() == []
    count = JIT + layouts.offset("adaptive_jit", "function_count")
    watched.memory.put(count, (3).to_bytes(4, "little"))
    watched.seen.look(still=True)
    (registered,) = watched.events()
    first = int.from_bytes(entry[layouts.offset("jit_function_entry", "code_v0") :][:4], "little")
    assert (registered.type, registered.id, registered.fields()["code"]) == ("jit_register", 2, first)


def test_fewer_functions_than_before_are_another_run(watched: Watched) -> None:
    watched.memory.put(JIT + layouts.offset("adaptive_jit", "function_count"), (1).to_bytes(4, "little"))
    watched.seen.look(still=True)
    assert watched.seen.restarted and watched.events() == []


def test_what_lies_where_a_table_was_is_not_taken_for_swaps(watched: Watched) -> None:
    for index in (0, 1):
        watched.memory.put(field(index, "current_code"), b"\x01\0\0\0")
    watched.seen.look()
    assert watched.events() == [] and not watched.seen.restarted
