"""What is read from a kernel's own code: COM1's divisor, the size of bitcode's header, where its variables are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.interrupt_storm import _levels_of
from bareflow_gdb.guest.code.own_place import reached
from bareflow_gdb.guest.code.paths import reachable
from bareflow_gdb.guest.machine.uart import programmed
from bareflow_gdb.guest.stock.bitcode import header_in_code

AT = 0x10000
# mov edx, 0x3fb; mov al, 0x80; out; mov edx, 0x3f8; mov al, N; out; inc edx; xor eax, eax; out; mov edx, 0x3fb; …
GCC = "bafb030000 b080 ee baf8030000 b0{} ee 42 31c0 ee bafb030000 b003 ee c3"
# mov al, 0x80; mov dx, 0x3fb; out; mov dx, 0x3f8; mov al, N; out; mov dx, 0x3f9; mov al, 0; out; mov dx, 0x3fb; …
CLANG = "b080 66bafb03 ee 66baf803 b0{} ee 66baf903 b000 ee 66bafb03 b003 ee c3"
# The number comes from memory.
UNKNOWN = "bafb030000 b080 ee baf8030000 a000100000 ee 42 31c0 ee bafb030000 b003 ee c3"
NEVER_OPENED = "bafb030000 b003 ee baf8030000 b041 ee 42 31c0 ee bafb030000 b003 ee c3"


@pytest.mark.parametrize("style", [GCC, CLANG])
@pytest.mark.parametrize("divisor", [1, 3, 12, 96])
def test_the_divisor_is_what_the_code_writes(style: str, divisor: int) -> None:
    code = b"\x90" * 40 + bytes.fromhex(style.format(f"{divisor:02x}")) + b"\x90" * 40
    found = programmed(code, AT)
    assert found is not None
    assert found.divisor == divisor


@pytest.mark.parametrize("code", [UNKNOWN, NEVER_OPENED, "90" * 64, "fb03" * 200])
def test_a_divisor_that_the_code_does_not_say_is_not_told(code: str) -> None:
    assert programmed(bytes.fromhex(code), AT) is None


def window(code: str) -> Any:
    return SimpleNamespace(data=bytes.fromhex(code))


@pytest.mark.parametrize(("code", "size"), [("83f878", 120), ("83f87c", 124), ("3d80000000", 128), ("83f870", 0)])
def test_the_header_is_as_large_as_the_code_steps(code: str, size: int) -> None:
    compared = "813f" + layouts.const("BITCODE_MAGIC").to_bytes(4, "little").hex()
    assert header_in_code(window(compared + "7502" + code)) == size
    assert header_in_code(window(code)) == 0, "no magic is compared there"
    assert header_in_code(window(compared + "83f878 83f87c")) == 0, "two sizes tell nothing"


# push ebp; mov ebp, esp; call next; pop eax; add eax, 0x100; mov [ebp-8], eax; xor eax, eax; mov ecx, [ebp-8]; …
PLACE = "55 89e5 e800000000 58 0500010000 8945f8 31c0 8b4df8"


@pytest.mark.parametrize(
    ("use", "address", "uses"),
    [
        ("8b9120000000", 0x128, True),  # mov edx, [ecx + 0x20]
        ("8b9481f0ffffff", 0xF8, False),  # mov edx, [ecx + eax*4 - 0x10]
        ("8d9100020000", 0x308, False),  # lea edx, [ecx + 0x200]
    ],
)
def test_a_variable_is_where_its_code_reaches_it(use: str, address: int, uses: bool) -> None:
    code = bytes.fromhex(PLACE + use + "c9c3")
    (found,) = reached(reachable(code, AT, AT, lambda _: None))
    assert (found.address - AT, found.uses) == (address, uses)


# mov ecx, eax; mov cl, 1; xchg eax, ecx; pop ecx
@pytest.mark.parametrize("written", ["89c1", "b101", "91", "59"])
def test_a_register_that_was_written_since_is_not_believed(written: str) -> None:
    code = bytes.fromhex(PLACE + written + "8b9120000000" + "c9c3")
    assert list(reached(reachable(code, AT, AT, lambda _: None))) == []


PICS = """pic1: irr=00 imr=ff isr=00 hprio=0 irq_base=28 rr_sel=0 elcr=0c fnm=0
pic0: irr=11 imr={} isr=10 hprio=0 irq_base=20 rr_sel=0 elcr={} fnm=0"""


def test_a_line_asks_by_its_level_when_it_is_not_masked() -> None:
    assert _levels_of(PICS.format("eb", "10"), "asks") == {4}
    assert _levels_of(PICS.format("eb", "10"), "served") == {4}
    assert _levels_of(PICS.format("eb", "00"), "asks") == set(), "it is triggered by its edge"
    assert _levels_of(PICS.format("fb", "10"), "asks") == set(), "it is masked"
    assert _levels_of("pic0: irr=zz", "asks") == set()
