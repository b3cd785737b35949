"""Finding the root descriptor: three ways in turn, each candidate validated before it is believed."""

from __future__ import annotations

import pytest
from fake_guest import JIT, ROOT, Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.exports import read_exports
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.guest import Guest

BASE = layouts.const("BF_IMAGE_BASE")


def without_header(memory: Bytes) -> Bytes:
    memory.put(BASE, bytes(layouts.size("bf_image_header")))
    return memory


def test_the_image_header_leads_to_the_root() -> None:
    found = find_root(FakeGuest().build())
    assert (found.how, found.root.address) == ("image header", ROOT)


def test_without_an_image_header_the_symbol_leads_to_the_root() -> None:
    found = find_root(without_header(FakeGuest().build()), lambda: {"bareflow_root": ROOT})
    assert (found.how, found.root.address) == ("symbol", ROOT)


def test_without_header_and_symbol_a_scan_finds_the_magic() -> None:
    found = find_root(without_header(FakeGuest().build()))
    assert (found.how, found.root.address) == ("scan", ROOT)


def test_the_scan_also_looks_above_one_mebibyte() -> None:
    memory = without_header(FakeGuest().build())
    root = bytes(memory.ram[ROOT : ROOT + layouts.size("bf_root")])
    memory.put(ROOT, bytes(len(root)))
    memory.put(0x400000, root)
    assert find_root(memory).root.address == 0x400000


def test_the_scan_of_a_costly_source_stays_below_the_devices() -> None:
    memory = without_header(FakeGuest().build(Bytes(cost=1)))
    memory.put(ROOT, bytes(16))
    with pytest.raises(BadData, match="no root descriptor"):
        find_root(memory)
    assert memory.bytes_read < 0xA0000 + 0x1000


def test_a_magic_that_is_not_aligned_is_not_a_root() -> None:
    memory = without_header(FakeGuest().build())
    root = bytes(memory.ram[ROOT : ROOT + layouts.size("bf_root")])
    memory.put(ROOT, bytes(len(root)))
    memory.put(ROOT + 4, root)
    with pytest.raises(BadData, match="no root descriptor"):
        find_root(memory)


def test_a_root_with_a_wrong_checksum_is_refused_with_both_sums() -> None:
    fake = FakeGuest()
    fake.checksum = 0xDEAD
    with pytest.raises(BadData, match="checksum 0x0000dead but its bytes give 0x"):
        find_root(fake.build())


def test_a_damaged_root_is_passed_over_for_a_good_copy_further_on() -> None:
    memory = FakeGuest().build()
    root = bytes(memory.ram[ROOT : ROOT + layouts.size("bf_root")])
    memory.put(0x101000, root)
    memory.set(ROOT, "bf_root", "image_end", 0x12345)
    found = find_root(memory)
    assert (found.how, found.root.address) == ("scan", 0x101000)


def test_a_newer_minor_version_is_read() -> None:
    fake = FakeGuest()
    fake.root |= {"abi_minor": 77, "size": layouts.size("bf_root") + 400}
    root = find_root(fake.build()).root
    assert root.abi == f"{layouts.const('BF_ABI_MAJOR')}.77"
    assert root.thresholds == (100, 1000, 10000)


def test_a_newer_major_version_is_refused_with_a_sentence() -> None:
    fake = FakeGuest()
    fake.root["abi_major"] = 9
    with pytest.raises(BadData, match=r"speaks debug interface 9\.\d, this suite speaks 1\.x: use the suite"):
        find_root(fake.build())


def test_a_pointer_outside_ram_disables_one_question_and_is_named() -> None:
    fake = FakeGuest()
    fake.root["pools"] = 0xFEE00000
    guest = Guest.attach(fake.build())
    assert guest.root().problems == ("the root's pointer to pools is 0xfee00000, which is not RAM",)
    with pytest.raises(BadData, match="this kernel gives no pools"):
        guest.kernel().pools()
    assert guest.kernel().jit().count == 2


def test_an_impossible_number_of_exports_is_cut_and_named() -> None:
    fake = FakeGuest()
    fake.root["export_count"] = 0xFFFFFFFF
    guest = Guest.attach(fake.build())
    (problem,) = guest.root().problems
    assert problem in guest.kernel().status().problems
    assert "claims 4,294,967,295 exported symbols, the table holds 1,024" in problem
    assert len(read_exports(guest.memory, guest.root())) == 1024


def test_a_pointer_into_device_memory_is_never_followed() -> None:
    fake = FakeGuest()
    fake.root["adaptive_jit"] = 0xB8000
    guest = Guest.attach(fake.build())
    with pytest.raises(BadData, match="gives no adaptive JIT"):
        guest.kernel().jit()
    assert guest.kernel().profile().count == 2


def test_attaching_before_there_is_a_kernel_raises_nothing_and_finds_it_later() -> None:
    memory = Bytes()
    guest = Guest.attach(memory)
    with pytest.raises(BadData, match="not loaded yet"):
        guest.root()
    FakeGuest().build(memory)
    assert guest.kernel().jit().count == 2
    assert guest.found_by == "image header"


def test_another_kernel_booted_since_is_found_anew() -> None:
    memory = FakeGuest().build()
    guest = Guest.attach(memory)
    moved = ROOT + 0x800
    memory.put(moved, bytes(memory.ram[ROOT : ROOT + layouts.size("bf_root")]))
    memory.put(ROOT, bytes(layouts.size("bf_root")))
    memory.set(BASE, "bf_image_header", "root", moved)
    assert guest.root().address == moved


def test_the_settable_words_are_read_each_time() -> None:
    memory = FakeGuest().build()
    guest = Guest.attach(memory)
    assert guest.root().hold == 0
    memory.set(ROOT, "bf_root", "hold", 1)
    assert guest.root().hold == 1
    assert guest.root().adaptive_jit == JIT
