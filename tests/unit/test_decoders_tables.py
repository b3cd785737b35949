"""Modules, pools, profiler, JIT, mailbox, log, exception, bitcode: each table of a guest made of bytes."""

from __future__ import annotations

from typing import Any

import pytest
from asking import record_of, text_of
from fake_guest import (
    BITCODE,
    BLOCKS,
    CODE,
    DATA,
    EXCEPTION,
    FUNCTIONS,
    LOG,
    MANAGER,
    MODULE_FILES,
    NAMES,
    POOLS,
    STATUS,
    VERSIONS,
    Bytes,
    FakeGuest,
    bitcode,
    module_file,
)

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.guest.guest import Guest

SLOTS = layouts.const("BF_MAILBOX_SLOTS")


@pytest.fixture
def fake() -> FakeGuest:
    return FakeGuest()


def attach(fake: FakeGuest) -> Guest:
    return Guest.attach(fake.build())


def memory_of(guest: Guest) -> Bytes:
    memory = guest.memory
    assert isinstance(memory, Bytes)
    return memory


class TestModules:
    def test_a_module_is_shown_with_its_header_and_statistics(self, fake: FakeGuest) -> None:
        module = attach(fake).kernel().modules().modules[0]
        assert (module.name, module.code, module.calls, module.mean_cycles) == ("alpha", CODE + 0x310, 2, 15.0)
        assert module.deviation_cycles == 5.0
        assert module.header is not None
        assert (module.header.address, module.header.version) == (MODULE_FILES, 2)
        assert (module.source, module.level, module.digest, module.problems) == ("embedded", 0, "not checked", ())

    def test_check_computes_the_digest_of_every_image(self, fake: FakeGuest) -> None:
        fake.module_files[1] = fake.module_files[1][:-1] + b"?"
        modules = attach(fake).kernel().modules(check=True)
        assert [module.digest for module in modules.modules] == ["right", "wrong"]
        assert "SHA-256 is wrong" in modules.all_problems()[0]

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"magic": 0x12345678}, "magic 0x12345678, not BDOM"),
            ({"name": b"gamma".ljust(32, b"\0")}, "its header names it 'gamma'"),
            ({"version": 7}, "header has version 7"),
            ({"entry_point": 0x4000}, "entry 0x00004000 is outside its code"),
            ({"code_size": 1 << 20}, "claims 1,048,576 bytes of code in an image of"),
        ],
    )
    def test_each_wrong_header_field_is_named(self, fake: FakeGuest, changes: dict[str, Any], sentence: str) -> None:
        fake.module_files[0] = module_file("alpha", **changes)
        assert any(sentence in problem for problem in attach(fake).kernel().modules().all_problems())

    def test_an_entry_stored_without_its_load_address_is_named(self, fake: FakeGuest) -> None:
        fake.modules[0]["code_ptr"] = 0x30
        assert "0x00000030 is below the kernel" in attach(fake).kernel().modules().all_problems()[0]

    def test_a_count_above_the_table_is_capped_and_said(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(MANAGER, "module_manager", "num_modules", 4_000_000)
        modules = guest.kernel().modules()
        assert len(modules.modules) == 16
        assert "claims 4,000,000 modules, the table holds 16" in modules.problems[0]

    def test_a_module_never_called_has_no_minimum(self, fake: FakeGuest) -> None:
        fake.modules[0] |= {"call_count": 0, "min_cycles": (1 << 64) - 1}
        module = attach(fake).kernel().modules().modules[0]
        assert (module.min_cycles, module.mean_cycles, module.deviation_cycles) == (None, None, None)

    def test_control_characters_in_a_name_do_not_reach_the_reader(self, fake: FakeGuest) -> None:
        fake.modules[0]["name"] = b"a\x1b[31mb\x07".ljust(32, b"\0")
        assert attach(fake).kernel().modules().modules[0].name == "a?[31mb?"


class TestPools:
    def test_blocks_have_their_owners_names(self, fake: FakeGuest) -> None:
        code = attach(fake).kernel().pools("code").pools[0]
        names = [block.owner_name for block in code.blocks]
        assert names == ["alpha@O0 #1", "beta@O0 #2", "alpha@O1 #3", "module alpha", "module beta", ""]
        assert code.problems == ()

    def test_all_pools_agree_with_their_own_headers(self, fake: FakeGuest) -> None:
        assert attach(fake).kernel().pools(check=True).all_problems() == []

    def test_fragmentation_is_computed_from_the_blocks(self, fake: FakeGuest) -> None:
        fake.blocks[1] |= {"state": 1, "owner_kind": 0}
        pool = attach(fake).kernel().pools("code").pools[0]
        assert pool.free_computed == pool.largest_free + 0x100
        assert pool.fragmentation_computed == 100 * 0x100 // pool.free_computed

    def test_a_kind_that_does_not_exist_is_refused_with_the_list(self, fake: FakeGuest) -> None:
        with pytest.raises(UsageError, match="the pools are code, data, metadata"):
            attach(fake).kernel().pools("stack")

    @pytest.mark.parametrize(
        ("field", "value", "sentence"),
        [
            ("stats.fragmentation", 4294967264, "4294967264 percent: it has underflowed"),
            ("stats.used", 1 << 20, "do not fit its 262,144 bytes"),
            ("stats.used", 1000, "count 1,000 bytes used, the block table 1,280"),
            ("stats.num_allocations", 99, "99 allocations less 0 frees are not the 5 used blocks"),
        ],
    )
    def test_wrong_statistics_are_named(self, fake: FakeGuest, field: str, value: int, sentence: str) -> None:
        guest = attach(fake)
        memory_of(guest).put(POOLS + layouts.offset("memory_pool", field), value.to_bytes(4, "little"))
        assert any(sentence in problem for problem in guest.kernel().pools("code").all_problems())

    def test_a_block_outside_its_pool_and_an_overlap_are_named(self, fake: FakeGuest) -> None:
        fake.blocks[0]["size"] = 0x180
        fake.blocks[5]["size"] += 0x1000
        problems = attach(fake).kernel().pools("code").all_problems()
        assert any("0x00200100 overlaps the one before it" in problem for problem in problems)
        assert any("0x00200500" in problem and "outside the pool" in problem for problem in problems)

    def test_an_overwritten_block_header_is_found_by_the_walk_only(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).put(CODE + 0x200, b"\x90" * 4)
        assert guest.kernel().pools("code").all_problems() == []
        assert any(
            "0x00200200 has magic 0x90909090" in text for text in guest.kernel().pools("code", True).all_problems()
        )

    def test_a_cycle_in_the_free_list_ends_the_walk(self, fake: FakeGuest) -> None:
        fake.blocks[1] |= {"state": 1, "owner_kind": 0}
        guest = attach(fake)
        memory = memory_of(guest)
        memory.set(CODE + 0x100, "block_header", "next", CODE + 0x500)
        memory.set(CODE + 0x500, "block_header", "next", CODE + 0x100)
        assert any("free list has a cycle" in text for text in guest.kernel().pools("code", True).all_problems())

    def test_a_block_table_that_was_overwritten_is_one_sentence(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(BLOCKS, "bf_block_table", "magic", 0x41414141)
        record = guest.kernel().pools()
        assert "block table has magic 0x41414141, not BFLK" in record.problems[0]
        assert [(pool.kind, pool.blocks) for pool in record.pools] == [("code", ()), ("data", ()), ("metadata", ())]

    def test_a_block_count_above_the_capacity_is_capped_and_said(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(BLOCKS, "bf_block_table", "count", 0xFFFFFFFF)
        assert "claims 4,294,967,295 blocks, the table holds 2,048" in guest.kernel().pools().problems[0]

    def test_an_owner_that_is_in_no_table_keeps_its_number(self, fake: FakeGuest) -> None:
        fake.blocks[0]["owner"] = 4711
        assert attach(fake).kernel().pools("code").pools[0].blocks[0].owner_name == "version 4711"


class TestProfile:
    def test_the_hottest_function_comes_first(self, fake: FakeGuest) -> None:
        fake.profiles[1]["total_cycles"] = 1 << 40
        assert [function.name for function in attach(fake).kernel().profile().functions] == ["beta", "alpha"]

    def test_a_name_that_cannot_be_read_leaves_the_number(self, fake: FakeGuest) -> None:
        fake.profiles[0]["name"] = 0xF0000000
        profile = attach(fake).kernel().profile()
        assert {function.name for function in profile.functions} == {"function 0", "beta"}
        assert profile.functions[0].module == "alpha"

    def test_a_name_without_an_end_is_cut(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).put(NAMES, b"x" * 64)
        assert guest.kernel().profile().functions[0].name == "x" * 32


class TestJit:
    def test_a_function_brings_its_versions_calls_and_next_threshold(self, fake: FakeGuest) -> None:
        alpha, beta = attach(fake).kernel().jit().functions
        assert (alpha.level, alpha.version, alpha.calls, alpha.next_threshold) == (1, 3, 150, 1000)
        assert alpha.current_code == alpha.version_entry == CODE + 0x210
        assert [(v.number, v.state, v.reason) for v in alpha.versions] == [
            (1, "retired", "initial"),
            (3, "published", "threshold"),
        ]
        assert (beta.control, beta.mail_state, beta.agrees) == ("allow", "idle", True)

    def test_a_slot_that_differs_from_the_version_table_is_named(self, fake: FakeGuest) -> None:
        fake.entries[0]["current_code"] = 0x212345
        jit = attach(fake).kernel().jit()
        assert not jit.functions[0].agrees
        assert "alpha runs 0x00212345, its version 3 begins at 0x00200210" in jit.problems

    def test_a_counter_id_that_is_an_address_is_named(self, fake: FakeGuest) -> None:
        fake.functions[0]["profiler_id"] = 0x1FBC0
        jit = attach(fake).kernel().jit()
        assert jit.functions[0].calls == 0
        assert "alpha is counted under id 0x1fbc0, unknown to the profiler" in jit.problems

    def test_a_published_version_that_is_not_in_the_table_is_named(self, fake: FakeGuest) -> None:
        fake.functions[1]["version"] = 77
        assert "beta runs version 77, which is not in the version table" in attach(fake).kernel().jit().problems

    def test_a_slot_outside_the_entries_is_read_where_it_is(self, fake: FakeGuest) -> None:
        fake.functions[0]["slot"] = 0x2F800
        guest = attach(fake)
        memory_of(guest).put(0x2F800, (CODE + 0x210).to_bytes(4, "little"))
        jit = guest.kernel().jit()
        assert jit.functions[0].current_code == CODE + 0x210
        assert "0x0002f800, outside the adaptive JIT's entries" in jit.problems[0]

    @pytest.mark.parametrize("place", [0x80000000, 0xFFFFFFFF, 0xA0000])
    def test_a_slot_that_cannot_be_read_is_named_and_the_others_are_shown(self, fake: FakeGuest, place: int) -> None:
        fake.functions[0]["slot"] = place
        kernel = attach(fake).kernel()
        jit = kernel.jit()
        assert f"0x{place:08x}, outside the adaptive JIT's entries, and cannot be read" in jit.problems[0]
        assert jit.functions[1].agrees
        assert [code.published for code in kernel.jit_code() if code.function == "beta"] == [True]

    def test_counts_beyond_the_tables_are_capped_and_said(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(STATUS, "bf_status", "function_count", 1000)
        memory_of(guest).set(STATUS, "bf_status", "version_count", 1000)
        problems = guest.kernel().jit().problems
        assert "the guest claims 1,000 functions, the table holds 32: only those are shown" in problems
        assert any("1,000 versions were begun, the table holds 512" in text for text in problems)

    def test_without_a_mailbox_the_rest_is_still_shown(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(layouts.const("BF_MAILBOX_HEADER"), "bf_mailbox", "magic", 0)
        jit = guest.kernel().jit()
        assert jit.functions[0].mail_state == ""
        assert "mailbox has magic 0x00000000" in jit.problems[0]

    def test_control_words_come_from_the_mailbox_slot(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        slot = layouts.pack("bf_mail_slot", state=1, request=4, control=3, control_argument=2, level_wanted=3)
        memory_of(guest).put(SLOTS + 128, slot)
        beta = guest.kernel().jit().functions[1]
        assert (beta.control, beta.control_argument, beta.mail_state) == ("rollback", 2, "requested")
        mail = guest.kernel().mailbox().slots[1]
        assert (mail.function, mail.request, mail.level_wanted, mail.address) == ("beta", 4, 3, SLOTS + 128)
        assert mail.staging == layouts.const("BF_STAGING_BASE") + layouts.const("BF_STAGING_SIZE")

    def test_phases_and_vetoes_are_told_by_status_swaps_and_jit_alike(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).put(SLOTS, layouts.pack("bf_mail_slot", control=1, phase=4, phase_level=2))
        memory_of(guest).put(SLOTS + 128, layouts.pack("bf_mail_slot", phase=6, phase_level=3, refusal=13))
        status, swaps, jit = guest.kernel().status(), guest.kernel().swaps(), guest.kernel().jit()
        level = guest.kernel().functions()[0].level
        told = [f"alpha O{level} → O2: about to publish", "beta → O3: old version retired"]
        assert [[str(one) for one in record.under_way] for record in (status, swaps, jit)] == [told] * 3
        assert status.vetoed == swaps.vetoed == ("alpha",) and jit.functions[0].control == "veto"
        assert guest.kernel().mailbox().slots[1].refusal == "no_bitcode"

    def test_what_a_kernel_before_phases_has_there_is_not_read(self, fake: FakeGuest) -> None:
        fake.root["abi_minor"] = 2
        guest = attach(fake)
        memory_of(guest).put(SLOTS, layouts.pack("bf_mail_slot", phase=4, phase_level=2, refusal=13))
        slot = guest.kernel().mailbox().slots[0]
        assert (slot.phase, slot.refusal, guest.kernel().status().under_way) == ("none", "none", ())

    def test_a_phase_that_there_is_not_is_a_number_and_no_failure(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).put(SLOTS, layouts.pack("bf_mail_slot", control=77, phase=200, phase_level=255, refusal=99))
        text = "\n".join(text_of(name, record_of(guest, name)) for name in ("status", "swaps", "jit"))
        assert text.count("alpha → O255: unknown(200)") == 3

    def test_a_version_of_a_function_that_is_not_there_keeps_its_number(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(VERSIONS, "bf_version", "function", 99)
        assert guest.kernel().versions()[0].function_name == "function 99"

    def test_the_function_table_gives_no_module_for_its_sentinel(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(FUNCTIONS, "bf_function", "module", 0xFFFFFFFF)
        assert [function.module for function in guest.kernel().functions()] == [None, 1]


class TestLogAndException:
    def test_the_log_is_text_without_carriage_returns(self, fake: FakeGuest) -> None:
        log = attach(fake).kernel().log()
        assert (log.text, log.lost) == ("[serial] init ok\nhello\n", 0)

    def test_a_log_that_wrapped_around_begins_with_a_whole_line(self, fake: FakeGuest) -> None:
        lines = b"".join(b"line %04d\n" % number for number in range(200))
        guest = attach(fake)
        memory = memory_of(guest)
        memory.set(LOG, "bf_log", "written", len(lines))
        for at, byte in enumerate(lines):
            memory.put(0x2D000 + at % 1024, bytes([byte]))
        log = guest.kernel().log()
        assert log.text.startswith("line 0098\n")
        assert log.text.endswith("line 0199\n")
        assert log.lost == len(lines) - 1024

    def test_the_end_of_the_log_can_be_asked_for(self, fake: FakeGuest) -> None:
        assert attach(fake).kernel().log(8).text == "hello\n"

    def test_escape_sequences_in_the_log_are_made_harmless(self, fake: FakeGuest) -> None:
        fake.log = b"a\x1b]0;x\x07\tb\n"
        assert attach(fake).kernel().log().text == "a\tb\n"

    def test_a_log_with_an_impossible_capacity_is_refused(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(LOG, "bf_log", "capacity", 1000)
        with pytest.raises(BadData, match="claims 1000 bytes"):
            guest.kernel().log()

    def test_an_exception_has_its_manuals_name(self, fake: FakeGuest) -> None:
        fake.exception |= {"count": 1, "vector": 6, "eip": 0x19150, "code": bytes(range(16))}
        record = attach(fake).kernel().exception()
        assert (record.name, record.registers.eip) == ("#UD invalid opcode", 0x19150)
        assert record.code.startswith("000102")

    def test_an_overwritten_exception_record_is_one_sentence(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).set(EXCEPTION, "bf_exception", "magic", 7)
        with pytest.raises(BadData, match="exception record has magic 0x00000007"):
            guest.kernel().exception()


class TestBitcode:
    def test_the_wrapper_and_the_payloads_place_are_shown(self, fake: FakeGuest) -> None:
        alpha = attach(fake).kernel().bitcode()[0]
        assert (alpha.module, alpha.entry, alpha.payload) == ("alpha", "alpha_main", BITCODE + 128)
        assert (alpha.payload_size, alpha.header_size, alpha.problems) == (64, 128, ())

    @pytest.mark.parametrize("size", [124, 120])
    def test_the_shorter_headers_in_the_field_are_recognised_and_said(self, fake: FakeGuest, size: int) -> None:
        guest = attach(fake)
        memory_of(guest).put(BITCODE, bitcode("alpha", size) + bytes(8))
        found = guest.kernel().bitcode()[0]
        assert (found.header_size, found.payload) == (size, BITCODE + size)
        assert f"begins at offset {size}, not 128" in found.problems[0]

    def test_a_missing_payload_and_a_wrong_magic_are_named(self, fake: FakeGuest) -> None:
        guest = attach(fake)
        memory_of(guest).put(BITCODE, bytes(256))
        problems = " ".join(guest.kernel().bitcode()[0].problems)
        assert "not LLBC" in problems
        assert "no payload follows" in problems

    def test_a_function_without_bitcode_is_no_problem(self, fake: FakeGuest) -> None:
        fake.functions[0]["bitcode"] = 0
        assert attach(fake).kernel().bitcode()[0].problems == ()

    def test_bitcode_outside_ram_is_a_problem_of_that_function_only(self, fake: FakeGuest) -> None:
        fake.functions[0]["bitcode"] = DATA << 10
        first, second = attach(fake).kernel().bitcode()
        assert "cannot read" in first.problems[0]
        assert second.problems == ()


def test_an_absurd_count_does_not_make_the_reader_read_more_than_the_table() -> None:
    guest = attach(FakeGuest())
    memory = memory_of(guest)
    memory.set(BLOCKS, "bf_block_table", "count", 0xFFFFFFFF)
    memory.set(BLOCKS, "bf_block_table", "capacity", 0xFFFFFFFF)
    before = memory.bytes_read
    guest.kernel().pools()
    assert memory.bytes_read - before < 64 << 10
