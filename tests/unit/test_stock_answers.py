"""What stock kernels are told to be: the same records, what is not known left open, known defects named."""

from __future__ import annotations

import random
import struct

import pytest
from asking import TABLES, ask, record_of, text_of
from fake_guest import Bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_guest import HEAP, JIT, MANAGER, POOLS, PROFILE, RAM_BYTES, StockGuest, code_of

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.stock.swaps import Logged, parse_log
from bareflow_gdb.render.jsonable import dumps, dumps_answer

ENTRIES = JIT + layouts.offset("adaptive_jit", "functions")
LOG = """[ADAPTIVE-JIT] Initialized
[RECOMPILE] old: O0 -> O1
[ADAPTIVE-JIT] Initialized
[ADAPTIVE-JIT] Registered: fibonacci
[RECOMPILE] fibonacci: O0 -> O1
[ATOMIC-SWAP] Code pointer updated to O1
[Call 77] Threshold reached - recompiling to O1...
[Call 78] Now running at O1
[RECOMPILE] sum: no O1 code
[RECOMPILE] fibonacci: O1 -> O2
[ATOMIC-SWAP] Code pointer updated to O2
"""


def guest(kernel: StockGuest | None = None) -> Guest:
    return Guest.attach((kernel or StockGuest()).build())


def test_pools_are_walked_and_their_blocks_have_owners() -> None:
    record = guest().kernel().pools()
    assert record.all_problems() == []
    assert [pool.kind for pool in record.pools] == ["code", "data", "metadata"]
    code, data, metadata = record.pools
    assert [(block.address, block.size, block.state, block.owner_name) for block in code.blocks] == [
        (HEAP + 16, 8192, "used", "fibonacci, code"),
        (HEAP + 8224, 8192, "used", "sum, code"),
        (HEAP + 16432, 0x8000 - 2 * 8208 - 16, "free", ""),
    ]
    assert [block.state for block in data.blocks] == ["free"]
    assert [block.owner_name for block in metadata.blocks] == [
        "fibonacci, name",
        "fibonacci, module name",
        "",
        "sum, name",
        "sum, module name",
        "",
    ]
    assert metadata.free_computed == metadata.free
    assert metadata.fragmentation_computed == metadata.fragmentation == 6


def test_one_pool_can_be_asked_for() -> None:
    assert [pool.kind for pool in guest().kernel().pools("data").pools] == ["data"]


def test_an_overwritten_block_header_ends_the_walk_with_a_sentence() -> None:
    memory = StockGuest().build()
    memory.put(HEAP + 8208, struct.pack("<I", 0x41414141))
    pool = Guest.attach(memory).kernel().pools("code").pools[0]
    assert any("0x41414141: overwritten" in text for text in pool.problems)
    assert len(pool.blocks) == 1


def test_a_block_that_reaches_beyond_its_pool_ends_the_walk() -> None:
    memory = StockGuest().build()
    memory.set(HEAP + 8208, "block_header", "size", 0x7FFFFFFF)
    pool = Guest.attach(memory).kernel().pools("code").pools[0]
    assert any("beyond the pool" in text for text in pool.problems)


def test_blocks_are_walked_up_to_a_cap_and_the_cap_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bareflow_gdb.guest.stock.pools.MOST_BLOCKS", 100)
    kernel = StockGuest()
    kernel.build()
    empty = layouts.pack("block_header", magic=layouts.const("BLOCK_MAGIC"), size=0)
    kernel.memory.put(HEAP, empty * 2048)
    pool = Guest.attach(kernel.memory).kernel().pools("code").pools[0]
    assert len(pool.blocks) == 100
    assert any("more than 100 blocks" in text for text in pool.problems)


def test_a_cycle_in_the_free_list_is_named() -> None:
    memory = StockGuest().build()
    hole = HEAP + 0x10000 + 64
    memory.set(hole, "block_header", "next", hole)
    pool = Guest.attach(memory).kernel().pools("metadata").pools[0]
    assert any("cycle" in text for text in pool.problems)


def test_the_fragmentation_statistic_that_underflows_is_named() -> None:
    memory = StockGuest().build()
    stats = POOLS + layouts.offset("memory_pool", "stats")
    memory.set(stats, "pool_stats", "fragmentation", 4294967264)
    assert any("underflowed" in text for text in Guest.attach(memory).kernel().pools("code").pools[0].problems)


def test_a_walk_over_a_gdbstub_costs_at_most_ten_packets_and_one_per_block() -> None:
    kernel = StockGuest(Bytes(RAM_BYTES, cost=1))
    kernel.memory.packet_bytes = 2048
    asked = Guest.attach(kernel.build())
    asked.kernel().pools()
    kernel.memory.invalidate()
    before = kernel.memory.packets
    blocks = asked.kernel().pools().block_count
    assert kernel.memory.packets - before <= 10 + blocks


def test_modules_have_their_headers() -> None:
    record = guest().kernel().modules()
    assert record.all_problems() == []
    module = record.modules[1]
    assert module.header is not None
    assert (module.header.address, module.header.name, module.digest) == (code_of(1) - 48, "fibonacci", "none")
    assert (module.level, module.source, module.mean_cycles) == (None, "", 100.0)


def test_an_entry_stored_raw_is_named_and_hides_no_other_module() -> None:
    memory = StockGuest().build()
    memory.set(MANAGER + 84, "module_profile", "code_ptr", 0x30)
    record = Guest.attach(memory).kernel().modules()
    assert record.count == 3
    assert record.all_problems() == [
        "fibonacci: its entry 0x00000030 is below the kernel: stored without its load address"
    ]


def test_the_profile_is_that_of_the_adaptive_jit() -> None:
    record = guest().kernel().profile()
    assert [(f.name, f.module, f.calls, f.level, f.hot) for f in record.functions] == [
        ("fibonacci", "fibonacci", 1500, 2, True),
        ("sum", "sum", 7, 0, False),
    ]
    assert (record.total_calls, record.thresholds) == (1507, (100, 1000, 10000))


def test_the_jit_is_told_without_what_the_kernel_does_not_keep() -> None:
    asked = guest()
    record = asked.kernel().jit()
    assert record.problems == ()
    one = record.functions[0]
    assert (one.name, one.level, one.calls, one.next_threshold, one.agrees) == ("fibonacci", 2, 1500, 10000, True)
    assert one.slot == ENTRIES + 20
    assert one.level_codes == (code_of(1), HEAP + 16, HEAP + 144, 0)
    assert (one.version, one.last_result, one.expected, one.arguments, one.versions) == (None, None, None, None, ())
    assert (record.swap_count, record.version_count) == (2, 4)
    assert asked.kernel().slots() == {"fibonacci": ENTRIES + 20, "sum": ENTRIES + 68}


@pytest.mark.parametrize(
    ("function", "field", "value", "said"),
    [
        (0, "code_v1", HEAP + 144, "O1 and O2 of fibonacci share one buffer"),
        (0, "compiled_level", 3, "fibonacci runs its O2 code at 0x00020090, its record says O3"),
        (1, "jit_ctx.code_buffer", 0, "sum has no code buffer"),
    ],
)
def test_known_defects_of_stock_kernels_are_named(function: int, field: str, value: int, said: str) -> None:
    memory = StockGuest().build()
    at = ENTRIES + 48 * function + layouts.offset("jit_function_entry", field)
    memory.put(at, struct.pack("<I", value))
    assert any(said in text for text in Guest.attach(memory).kernel().jit().problems)


def test_swaps_are_told_from_the_levels_that_were_compiled() -> None:
    answer = ask(Guest.attach(StockGuest().build()), "swaps")
    record = answer.record
    assert [(s.function, s.from_level, s.to_level, s.call, s.reason, s.code_size) for s in record.swaps] == [
        ("fibonacci", 0, 1, 100, "threshold", 128),
        ("fibonacci", 1, 2, 1000, "threshold", 120),
    ]
    assert [(s.tsc, s.to_version, s.publish_to_first_us) for s in record.swaps] == [(0, 0, None)] * 2
    assert [(s.old_code, s.new_code) for s in record.swaps] == [(code_of(1), HEAP + 16), (HEAP + 16, HEAP + 144)]
    assert any("default" in text for text in answer.unknown)


def test_a_level_that_is_compiled_and_not_published_yet_is_no_swap() -> None:
    memory = StockGuest().build()
    memory.set(ENTRIES, "jit_function_entry", "code_v3", HEAP + 400)
    assert [swap.to_level for swap in Guest.attach(memory).kernel().swaps().swaps] == [1, 2]


def test_a_serial_log_adds_the_calls() -> None:
    asked = Guest.attach(StockGuest().build())
    asked.serial_log = lambda: LOG
    answer = ask(asked, "swaps")
    assert [swap.call for swap in answer.record.swaps] == [77, 1000]
    # The log does not say at which call it came to O2.
    assert any("default" in text for text in answer.unknown)


def test_a_threshold_that_was_not_reached_is_no_reason() -> None:
    memory = StockGuest().build()
    memory.put(
        JIT,
        layouts.pack(
            "function_profile", name=HEAP + 0x10010, call_count=150, total_cycles=9000, min_cycles=9, max_cycles=90
        ),
    )
    assert [(swap.call, swap.reason) for swap in Guest.attach(memory).kernel().swaps().swaps] == [
        (100, "threshold"),
        (None, "none"),
    ]


def test_equal_code_of_two_levels_is_seen() -> None:
    kernel = StockGuest()
    memory = kernel.build()
    memory.put(HEAP + 144, bytes(memory.ram[HEAP + 16 : HEAP + 16 + 120]))
    assert [swap.same_code for swap in Guest.attach(memory).kernel().swaps().swaps] == [False, True]


def test_the_log_of_the_last_run_counts() -> None:
    assert parse_log(LOG) == [Logged("fibonacci", 0, 1, 77), Logged("fibonacci", 1, 2, None)]
    assert parse_log("") == []


@given(st.text(alphabet="[RECOMPIL]fib: O->0123 Call\n.ThreshodacgtA-J", max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_log(log: str) -> None:
    parse_log(log)
    parse_log("[RECOMPILE] " + log)


def test_status_is_one_screen_without_a_boot_record() -> None:
    record = guest().kernel().status()
    assert (record.stage, record.ok, record.abi, record.variant) == ("running", True, "", "stock kernel")
    assert [(line.name, line.level) for line in record.functions] == [("fibonacci", 2), ("sum", 0)]
    assert [(pool.kind, pool.used) for pool in record.pools] == [("code", 16416), ("data", 0), ("metadata", 128)]
    assert "no debug interface" in text_of("status", record)


def test_a_unikernel_has_a_profile_and_says_so_when_asked_for_more() -> None:
    asked = Guest.attach(StockGuest().unikernel()).kernel()
    record = asked.profile()
    assert [(f.name, f.calls, f.min_cycles) for f in record.functions] == [("sum_to_n", 100, 40), ("fibonacci", 10, 40)]
    assert (record.total_calls, record.thresholds) == (110, None)
    assert asked.status().variant == "stock unikernel"
    for question in (asked.modules, asked.jit, asked.swaps):
        with pytest.raises(BadData, match=r"this is a unikernel.*`profile`"):
            question()


def test_a_unikernel_that_measures_its_first_function_is_recognised() -> None:
    memory = StockGuest().unikernel(counts=(0,))
    memory.set(PROFILE, "jit_profile_entry", "active", 1)
    assert [f.calls for f in Guest.attach(memory).kernel().profile().functions] == [0]


@pytest.mark.parametrize("question", [name for name in TABLES if name != "boot"])
def test_every_answer_is_text_and_json_with_its_provenance(question: str) -> None:
    answer = ask(Guest.attach(StockGuest().build()), question)
    assert text_of(question, answer.record)
    made = dumps_answer(answer)
    assert '"found": [' in made
    assert '"confidence": "certain"' in made
    assert dumps(answer.record) == dumps(record_of(Guest.attach(StockGuest().build()), question))


def test_control_characters_in_names_do_not_reach_the_reader() -> None:
    memory = StockGuest().build()
    names = StockGuest().names()
    memory.put(names[2], b"\x1b[31mred\0")
    assert "\x1b" not in text_of("jit", Guest.attach(memory).kernel().jit())


@given(st.integers(0, 1 << 32), st.integers(1, 40))
@settings(max_examples=20, deadline=None)
def test_a_damaged_stock_guest_answers_or_says_why_not(seed: int, strokes: int) -> None:
    """Bytes anywhere in its records: no question ends in anything but an answer or the suite's own error."""
    source = random.Random(seed)
    memory = StockGuest().build()
    asked = Guest.attach(memory)
    asked.kernel().jit()
    for _ in range(strokes):
        base, size = source.choice([(JIT, 8216), (MANAGER, 1356), (POOLS, 132), (HEAP, 0x18000)])
        memory.put(
            base + 4 * source.randrange(size // 4), struct.pack("<I", source.choice((0, 1, 0xFFFFFFFF, 0xB8000, HEAP)))
        )
    for question in TABLES:
        try:
            dumps_answer(ask(asked, question))
        except BareflowError as error:
            assert str(error)
