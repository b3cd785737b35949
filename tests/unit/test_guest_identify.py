"""What is at this address? Every region has an answer, and a damaged table costs only itself."""

from __future__ import annotations

import pytest
from fake_guest import BITCODE, BLOCKS, CAUSES, CODE, FUNCTIONS, JIT, METADATA, MODULE_FILES, ROOT, Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest.attach(FakeGuest().build())


@pytest.mark.parametrize(
    ("address", "region", "name"),
    [
        (0x20, "interrupt vectors", "vector 8"),
        (0x410, "BIOS data area", ""),
        (0x608, "boot record", "boot record, stage"),
        (0x7C3E, "stage 1", ""),
        (0x8000, "stage 2", ""),
        (0x10004, "kernel", "image header, jump"),
        (ROOT + 20, "kernel", "root descriptor, size"),
        (0x11010, "kernel", "kmain"),
        (JIT + 6672 + 48 + 20, "kernel", "JIT entry 1, current_code"),
        (FUNCTIONS + 96 + 4, "kernel", "function 1, name"),
        (MODULE_FILES + 0x400 + 8, "kernel", "image of module beta"),
        (BITCODE + 0x10, "kernel", "bitcode of alpha"),
        (CAUSES + 16 * 2 + 8, "kernel", "version cause 2, tsc"),
        (0x8FF00, "stack", ""),
        (0x9FC10, "extended BIOS data area", ""),
        (0x95000, "unused RAM", ""),
        (0xA0000, "device memory", ""),
        (0xB8000 + 2 * (80 * 3 + 7) + 1, "VGA text", "attribute in row 3, column 7"),
        (0x100010, "heap", ""),
        (CODE + 0x220, "code pool", "alpha@O1 #3"),
        (CODE + 0x200, "code pool", "block header"),
        (CODE + 0x320, "code pool", "module alpha"),
        (CODE + 0x5000, "code pool", "free block"),
        (METADATA + 0x18, "metadata pool", "block table, count"),
        (METADATA + 0x4000, "metadata pool", "block table"),
        (layouts.const("BF_RING0_HEADER") + 64, "ring 0", "ring 0 header, head"),
        (layouts.const("BF_RING0_RECORDS") + 32 * 7 + 12, "ring 0", "event 7, type"),
        (layouts.const("BF_RING1_HEADER"), "ring 1", "ring 1 header, magic"),
        (layouts.const("BF_MAILBOX_SLOTS") + 128, "mailbox", "mailbox slot 1, state"),
        (layouts.const("BF_STAGING_BASE") + 0x8000, "staging", "staging area of slot 1"),
        (0x900000, "model weights", ""),
        (0x4000000, "outside RAM", ""),
        (0xFEE00000, "outside RAM", ""),
        (1 << 40, "outside RAM", ""),
        (-1, "outside RAM", ""),
    ],
)
def test_an_address_is_named(guest: Guest, address: int, region: str, name: str) -> None:
    found = guest.kernel().identify(address)
    assert (found.region, found.name) == (region, name)


def test_the_offset_is_counted_from_the_object(guest: Guest) -> None:
    found = guest.kernel().identify(CODE + 0x234)
    assert (found.start, found.offset, found.size) == (CODE + 0x210, 0x24, 0x80)
    assert (found.function, found.version, found.level) == ("alpha", 3, 1)
    assert "published code, made because: threshold" in found.detail


def test_the_rest_of_a_versions_block_belongs_to_it_too(guest: Guest) -> None:
    found = guest.kernel().identify(CODE + 0x210 + 0x90)
    assert (found.name, found.function, found.version) == ("alpha@O1 #3", "alpha", 3)


def test_a_slot_of_the_jit_names_its_function(guest: Guest) -> None:
    assert guest.kernel().identify(JIT + 6672 + 20).function == "alpha"


def test_without_a_root_the_memory_map_still_answers() -> None:
    guest = Guest.attach(Bytes())
    assert guest.kernel().identify(0x7C00).region == "stage 1"
    assert guest.kernel().identify(CODE).region == "code pool"


def test_a_damaged_block_table_leaves_the_region_and_its_reason() -> None:
    memory = FakeGuest().build()
    memory.set(BLOCKS, "bf_block_table", "magic", 0)
    found = Guest.attach(memory).kernel().identify(CODE + 0x220)
    assert found.region == "code pool"
    assert "not BFLK" in found.detail


def test_an_interrupt_at_the_first_byte_of_a_version_is_named_by_it() -> None:
    names = Guest.attach(FakeGuest().build()).kernel().names()
    code = next(code for code in Guest.attach(FakeGuest().build()).kernel().jit_code() if code.version == 3)
    assert names.place(code.code, returned_to=True).text == "alpha@O1 #3"
    assert names.place(code.code + 4, returned_to=True).text == "alpha@O1 #3 + 0x4"


def test_code_of_a_freed_version_is_still_known() -> None:
    fake = FakeGuest()
    fake.versions[0]["state"] = 5
    fake.blocks[0] |= {"state": 1, "owner_kind": 0}
    found = Guest.attach(fake.build()).kernel().identify(CODE + 0x20)
    assert (found.name, found.version) == ("alpha@O0 #1", 1)
    assert "freed code" in found.detail
    assert "free block" in found.detail


def test_ram_ends_where_the_boot_record_says() -> None:
    fake = FakeGuest()
    fake.boot["memory_kib"] = 128 * 1024 - 1024 - 128
    guest = Guest.attach(fake.build())
    assert guest.kernel().identify(0x7FFFFFF).region == "model weights"
    assert guest.kernel().identify(0x8000000).region == "outside RAM"
