"""The bitstream reader: LLVM's own bitcode is understood, and damaged bitcode is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding

from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.code.bitstream import read_producer

SOURCE = """
source_filename = "the source.c"
target triple = "i686-unknown-none-elf"
define i32 @f(i32 %a) {
  %b = mul i32 %a, 3
  ret i32 %b
}
"""


@pytest.fixture(scope="module")
def bitcode() -> bytes:
    return bytes(binding.parse_assembly(SOURCE).as_bitcode())


def test_llvms_own_bitcode_says_who_made_it(bitcode: bytes) -> None:
    found = read_producer(bitcode)
    version = ".".join(map(str, binding.llvm_version_info))
    assert found.producer == f"LLVM{version}"
    assert (found.triple, found.source, found.epoch) == ("i686-unknown-none-elf", "the source.c", 0)


def test_bitcode_of_clang_says_which_source(firmware: Path) -> None:
    found = read_producer((firmware / "modules" / "primes.bc").read_bytes())
    assert found.producer.startswith("LLVM19.")
    assert (found.triple, found.source) == ("i686-unknown-none-elf", "modules/primes.c")


def test_the_beginning_says_as_much_as_is_there(bitcode: bytes) -> None:
    found = read_producer(bitcode[:64])
    assert found.producer.startswith("LLVM")
    assert found.triple == ""


@pytest.mark.parametrize("data", [b"", b"BC", b"\x7fELF" * 8])
def test_no_bitcode_is_one_sentence(data: bytes) -> None:
    with pytest.raises(BadData, match="no bitcode"):
        read_producer(data)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_bitcode_is_an_answer_or_a_sentence(data: st.DataObject) -> None:
    damaged = bytearray(binding.parse_assembly(SOURCE).as_bitcode())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(4, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_producer(bytes(damaged))
    except BadData as error:
        assert str(error).isprintable()
    else:
        assert (found.producer + found.triple + found.source).isprintable()
