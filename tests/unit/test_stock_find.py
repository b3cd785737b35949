"""Located the records of kernels without a debug interface; a wrong answer is worse than none."""

from __future__ import annotations

import random
import struct

import pytest
from fake_guest import Bytes, FakeGuest
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_guest import HEAP, JIT, MANAGER, MODULES, POOLS, RAM_BYTES, StockGuest, code_of, text

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.answer import Located
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.stock import search as kinds
from bareflow_gdb.guest.stock.generations import GENERATIONS, Generation
from bareflow_gdb.guest.stock.places import Cpu, cpu_of_packet
from bareflow_gdb.guest.stock.window import Window

FLUD = struct.pack("<I", layouts.const("BF_FLUD_MAGIC"))
QUESTIONS = ("modules", "pools", "profile", "jit", "swaps")


def found(guest: Guest) -> dict[str, Located]:
    return {finding.what: finding for finding in guest.places.known()}


def nothing_is_found(memory: Bytes, questions: tuple[str, ...] = QUESTIONS) -> None:
    guest = Guest.attach(memory)
    for question in questions:
        with pytest.raises(BadData):
            getattr(guest.kernel(), question)()


def test_a_search_of_the_stack_finds_the_locals_of_the_main_function() -> None:
    guest = Guest.attach(StockGuest().build())
    assert [module.name for module in guest.kernel().modules().modules] == ["sum", "fibonacci", "primes"]
    one = found(guest)[kinds.MANAGER]
    assert (one.address, one.how, one.confidence) == (MANAGER, "search of the stack", "certain")
    assert [function.name for function in guest.kernel().jit().functions] == ["fibonacci", "sum"]
    one = found(guest)[kinds.JIT]
    assert (one.address, one.how, one.confidence) == (JIT, "search of the stack", "certain")


def test_the_pools_are_found_in_the_kernels_data() -> None:
    guest = Guest.attach(StockGuest().build())
    guest.kernel().pools()
    one = found(guest)[kinds.POOLS]
    assert (one.address, one.how, one.confidence) == (POOLS, "search of the kernel's data", "certain")


def test_a_symbol_comes_before_the_search() -> None:
    guest = Guest.attach(StockGuest().build(), {"g_pools": POOLS})
    guest.kernel().pools()
    assert found(guest)[kinds.POOLS].how == "symbol"


def test_a_symbol_of_another_kernel_is_doubted_and_the_search_answers() -> None:
    guest = Guest.attach(StockGuest().build(), {"g_pools": MANAGER})
    assert guest.kernel().pools().block_count == 10
    assert found(guest)[kinds.POOLS].how == "search of the kernel's data"
    status = guest.kernel().status()
    assert not status.ok
    assert "g_pools" in status.problems[0]


def test_an_argument_at_a_functions_entry_comes_before_the_search() -> None:
    guest = Guest.attach(StockGuest().build())
    guest.places.tell([("adaptive_jit_register_function", JIT), ("printf", 0x1234), ("module_load", MANAGER)])
    guest.kernel().jit()
    assert found(guest)[kinds.JIT].how == "argument"
    guest.kernel().modules()
    assert found(guest)[kinds.MANAGER].how == "argument"


def test_an_argument_is_surer_than_what_was_found_by_a_search_before() -> None:
    guest = Guest.attach(StockGuest().build())
    guest.kernel().jit()
    assert found(guest)[kinds.JIT].how == "search of the stack"
    guest.places.tell([("adaptive_jit_register_function", JIT)])
    guest.kernel().jit()
    assert found(guest)[kinds.JIT].how == "argument"


def test_a_search_for_another_record_does_not_hide_a_symbol() -> None:
    guest = Guest.attach(StockGuest().build(), {"g_pools": POOLS})
    guest.kernel().jit()
    guest.kernel().pools()
    assert found(guest)[kinds.POOLS].how == "symbol"


def test_an_argument_that_is_not_filled_yet_is_told_as_such_and_believed_later() -> None:
    kernel = StockGuest()
    kernel.pools()
    guest = Guest.attach(kernel.memory)
    guest.places.tell([("module_init", MANAGER)])
    assert guest.kernel().modules().count == 0
    assert found(guest)[kinds.MANAGER].confidence == "told"
    kernel.images()
    kernel.manager()
    assert guest.kernel().modules().count == 3
    assert found(guest)[kinds.MANAGER].confidence == "certain"


def test_an_argument_that_can_be_no_such_address_is_not_believed() -> None:
    guest = Guest.attach(StockGuest().memory)
    guest.places.tell([("module_load", 0xFFFFFFFC), ("module_load", MANAGER + 1)])
    with pytest.raises(BadData, match="no module manager"):
        guest.kernel().modules()


@pytest.mark.parametrize("generation", GENERATIONS, ids=lambda one: str(one.profile_bytes))
def test_the_generation_is_recognised_from_the_data(generation: Generation) -> None:
    guest = Guest.attach(StockGuest(generation=generation).build())
    modules = guest.kernel().modules()
    assert guest.places.generation() == generation
    assert [(m.name, m.code, m.code_size, m.calls, m.min_cycles, m.loaded) for m in modules.modules] == [
        ("sum", code_of(0), 100, 1, 100, True),
        ("fibonacci", code_of(1), 101, 5, 90, True),
        ("primes", code_of(2), 102, 0, None, True),
    ]
    spread = modules.modules[1].deviation_cycles
    assert (spread is not None) == (generation.profile_bytes == 84)
    assert f"{generation.profile_bytes} bytes" in found(guest)[kinds.MANAGER].evidence


def test_zeros_are_nothing() -> None:
    nothing_is_found(Bytes(RAM_BYTES))


def test_a_kernel_that_has_filled_nothing_is_not_there_yet() -> None:
    guest = Guest.attach(StockGuest().memory)
    with pytest.raises(BadData, match=r"no adaptive JIT is there \(yet\).*let the guest run on"):
        guest.kernel().jit()
    status = guest.kernel().status()
    assert (status.stage, status.ok, status.functions) == ("loaded", True, ())
    assert "run on" in status.next_step


def test_each_record_is_there_as_soon_as_it_is_filled() -> None:
    kernel = StockGuest()
    guest = Guest.attach(kernel.memory)
    kernel.pools()
    assert guest.kernel().pools().block_count == 10
    assert guest.kernel().status().stage == "pools"
    with pytest.raises(BadData, match="no module manager"):
        guest.kernel().modules()
    kernel.images()
    kernel.manager()
    assert guest.kernel().modules().count == 3
    assert guest.kernel().status().stage == "modules"
    kernel.jit()
    assert guest.kernel().jit().count == 2
    assert guest.kernel().status().stage == "running"


@given(st.integers(0, 1 << 32), st.booleans())
@settings(max_examples=15, deadline=None)
def test_random_memory_is_nothing_even_behind_a_signature(seed: int, signed: bool) -> None:
    source = random.Random(seed)
    memory = Bytes(RAM_BYTES)
    memory.put(0x10000, source.randbytes(0x80000))
    if signed:
        memory.put(0x10000, FLUD)
    nothing_is_found(memory)


@given(st.integers(0, 1 << 32))
@settings(max_examples=25, deadline=None)
def test_memory_full_of_small_numbers_names_and_pointers_is_nothing(seed: int) -> None:
    """The shape of real data, without a record in it: what a lax search would take for one."""
    source = random.Random(seed)
    pieces = [
        lambda: struct.pack("<I", source.randrange(40)),
        lambda: struct.pack("<I", 0x10000 + 4 * source.randrange(0x20000)),
        lambda: text(source.choice(("sum", "fibonacci", "x"))),
        lambda: bytes(4 * source.randrange(1, 30)),
        lambda: struct.pack("<I", layouts.const("BLOCK_MAGIC")),
        lambda: b"\xff" * 8,
        lambda: struct.pack("<Q", source.randrange(1 << source.randrange(50))),
    ]
    body = bytearray()
    while len(body) < 0x20000:
        body += source.choice(pieces)()
    memory = Bytes(RAM_BYTES)
    memory.put(0x10000, FLUD)
    memory.put(0x70000, bytes(body[:0x20000]))
    window = Window(memory)
    assert {kind: kinds.search(window, kind) for kind in kinds.KINDS} == {kind: [] for kind in kinds.KINDS}


def test_without_the_kernels_signature_nothing_on_the_stack_is_believed() -> None:
    memory = StockGuest().build()
    memory.put(0x10000, bytes(4))
    nothing_is_found(memory)


def test_what_an_earlier_boot_left_on_the_stack_is_not_there_yet() -> None:
    """The next boot has zeroed .bss: the heap with the code buffers is gone, the stack is as it was."""
    kernel = StockGuest()
    memory = kernel.build()
    memory.put(HEAP, bytes(0x40000))
    memory.put(POOLS, bytes(132))
    nothing_is_found(memory, ("pools", "jit", "swaps", "profile"))


def test_functions_whose_code_buffers_are_gone_are_of_an_earlier_boot_even_if_their_names_and_code_remain() -> None:
    """Names and O0 code in the image, which the loader has put there again."""
    kernel = StockGuest()
    memory = kernel.build()
    for index in range(2):
        memory.set(JIT + 52 * index, "function_profile", "name", MODULES + 4 + 0x200 * index)
        entry = JIT + 6672 + 48 * index
        memory.set(entry, "jit_function_entry", "current_code", code_of(index))
        memory.set(entry, "jit_function_entry", "code_v0", code_of(index))
        memory.set(entry, "jit_function_entry", "compiled_level", 0)
    assert [function.name for function in Guest.attach(memory).kernel().jit().functions] == ["sum", "fibonacci"]
    memory.put(HEAP, bytes(0x40000))
    memory.put(POOLS, bytes(132))
    nothing_is_found(memory, ("jit", "swaps", "profile"))


def test_a_frame_that_has_been_left_is_not_believed() -> None:
    memory = StockGuest().build()
    guest = Guest.attach(memory)
    guest.places.cpu = lambda: Cpu(protected=True, esp=MANAGER - 0x10)
    assert guest.kernel().modules().count == 3
    with pytest.raises(BadData, match="no adaptive JIT"):
        guest.kernel().jit()


def test_in_real_mode_no_kernel_has_filled_anything() -> None:
    guest = Guest.attach(StockGuest().build())
    guest.places.cpu = lambda: Cpu(protected=False, esp=0x7C00)
    with pytest.raises(BadData, match="real mode"):
        guest.kernel().modules()


def test_of_two_records_the_one_that_was_handed_to_functions_is_taken_and_the_doubt_is_said() -> None:
    kernel = StockGuest()
    kernel.build()
    kernel.manager(address=0x84000, calls=(2, 6, 0))
    kernel.memory.put(0x8D000, struct.pack("<I", 0x84000))
    guest = Guest.attach(kernel.memory)
    assert guest.kernel().modules().total_calls == 8
    one = found(guest)[kinds.MANAGER]
    assert (one.address, one.confidence) == (0x84000, "likely")
    assert f"0x{MANAGER:08x}" in one.evidence


def test_a_record_that_is_gone_is_looked_for_again() -> None:
    kernel = StockGuest()
    memory = kernel.build()
    guest = Guest.attach(memory)
    assert guest.kernel().modules().count == 3
    memory.put(MANAGER, bytes(1356))
    with pytest.raises(BadData, match="no module manager"):
        guest.kernel().modules()
    kernel.manager(address=0x88000)
    assert guest.kernel().modules().count == 3
    assert found(guest)[kinds.MANAGER].address == 0x88000


@pytest.mark.parametrize(
    ("record", "layout", "field", "value"),
    [
        (MANAGER, "module_manager", "num_modules", 0),
        (MANAGER, "module_manager", "num_modules", 4),
        (MANAGER, "module_manager", "num_modules", 17),
        (MANAGER, "module_profile", "code_ptr", 0),
        (MANAGER, "module_profile", "loaded", 2),
        (MANAGER, "module_profile", "code_size", 1 << 30),
        (MANAGER, "module_profile", "call_count", 0),
        (MANAGER, "module_profile", "max_cycles", 1 << 40),
    ],
)
def test_a_module_manager_that_contradicts_itself_is_none(record: int, layout: str, field: str, value: int) -> None:
    memory = StockGuest().build()
    memory.set(record, layout, field, value)
    nothing_is_found(memory, ("modules",))


def test_modules_most_of_which_have_no_code_are_none() -> None:
    memory = StockGuest().build()
    memory.set(MANAGER, "module_profile", "code_ptr", 0x30)
    assert Guest.attach(memory).kernel().modules().count == 3
    memory.set(MANAGER + 84, "module_profile", "code_ptr", 0x30)
    nothing_is_found(memory, ("modules",))


@pytest.mark.parametrize(
    ("at", "layout", "field", "value"),
    [
        (JIT, "adaptive_jit", "function_count", 1),
        (JIT, "adaptive_jit", "function_count", 3),
        (JIT, "adaptive_jit", "enabled", 7),
        (JIT + 6672, "jit_function_entry", "current_code", 0x20200),
        (JIT + 6720, "jit_function_entry", "current_code", 0x20200),
        (JIT + 6672, "jit_function_entry", "compiled_level", 4),
        (JIT + 6672, "jit_function_entry", "profiler_id", 2),
        (JIT, "function_profile", "opt_level", 9),
        (JIT, "function_profile", "name", 0xB8000),
    ],
)
def test_an_adaptive_jit_that_contradicts_itself_is_none(at: int, layout: str, field: str, value: int) -> None:
    memory = StockGuest().build()
    memory.set(at, layout, field, value)
    nothing_is_found(memory, ("jit", "swaps"))


@pytest.mark.parametrize(
    ("field", "value"), [("base", HEAP + 8), ("total_size", 0x4000), ("free_list", 0x10), ("initialized", 2)]
)
def test_pools_that_contradict_themselves_are_none(field: str, value: int) -> None:
    memory = StockGuest().build()
    memory.set(POOLS, "memory_pool", field, value)
    nothing_is_found(memory, ("pools",))


def test_a_pool_that_did_not_come_up_does_not_hide_the_others() -> None:
    memory = StockGuest().build()
    memory.put(POOLS + 44, bytes(44))
    pools = Guest.attach(memory).kernel().pools().pools
    assert [pool.initialized for pool in pools] == [True, False, True]


def test_a_guest_caught_between_two_stores_of_a_call_is_still_recognised() -> None:
    memory = StockGuest().build()
    # Counted, its cycles not added yet.
    memory.set(MANAGER + 84, "module_profile", "call_count", 6)
    assert Guest.attach(memory).kernel().modules().modules[1].calls == 6


def test_a_kernel_of_this_project_with_a_damaged_root_is_not_taken_for_a_stock_one() -> None:
    fake = FakeGuest()
    fake.checksum = 1
    memory = fake.build()
    memory.put(0x10004, b"\xeb\x1a\x90\x90")
    with pytest.raises(BadData, match="checksum"):
        Guest.attach(memory).kernel().modules()


def test_a_costly_source_is_searched_once_and_not_again_while_its_stack_is_unchanged() -> None:
    kernel = StockGuest(Bytes(RAM_BYTES, cost=1))
    kernel.pools()
    guest = Guest.attach(kernel.memory)
    with pytest.raises(BadData):
        guest.kernel().modules()
    before = kernel.memory.bytes_read
    with pytest.raises(BadData):
        guest.kernel().modules()
    assert kernel.memory.bytes_read - before < 0x8000
    kernel.images()
    kernel.manager()
    assert guest.kernel().modules().count == 3


def test_a_long_search_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1000, 2))
    monkeypatch.setattr("bareflow_gdb.guest.stock.window.time.monotonic", lambda: float(next(ticks)))
    told: list[str] = []
    Guest.attach(StockGuest().build(), say=told.append).kernel().modules()
    assert told[-1].endswith("512 of 512 KiB read")


def test_a_short_search_tells_nothing() -> None:
    told: list[str] = []
    Guest.attach(StockGuest().build(), say=told.append).kernel().modules()
    assert told == []


def test_memory_that_ends_early_is_searched_as_far_as_it_goes() -> None:
    memory = Bytes(0x40000)
    StockGuest(memory)
    with pytest.raises(BadData, match="no module manager"):
        Guest.attach(memory).kernel().modules()


def test_registers_of_a_stub_tell_mode_and_stack() -> None:
    words = [0] * 20
    words[4], words[19] = 0x8FF00, 0x11
    packet = struct.pack("<20I", *words).hex().encode()
    assert cpu_of_packet(packet) == Cpu(protected=True, esp=0x8FF00)
    words[19] = 0x60000010
    assert cpu_of_packet(struct.pack("<20I", *words).hex().encode()) == Cpu(protected=False, esp=0x8FF00)
    for wrong in (b"", b"E01", b"\xff\xfe", packet[:40], packet.replace(b"11", b"e1")):
        assert cpu_of_packet(wrong) is None
