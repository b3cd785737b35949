"""Bitcode that comes out of guest memory is taken apart without believing its header."""

from __future__ import annotations

import pytest

from bareflow_gdb.abi import layouts
from bareflow_gdb.memory.protocol import CheckedMemory
from bareflow_gdb.recompile.refusal import BadBitcode
from bareflow_gdb.recompile.wrapped import read_wrapped

ADDRESS = 0x240010
PAYLOAD = b"BC\xc0\xde" + bytes(range(100))


class Bytes(CheckedMemory):
    """Memory that holds a few bytes at ADDRESS."""

    def __init__(self, data: bytes) -> None:
        super().__init__([(ADDRESS, ADDRESS + len(data))])
        self.data = data

    def _fetch(self, address: int, size: int) -> bytes:
        return self.data[address - ADDRESS : address - ADDRESS + size]


def wrapped(payload: bytes = PAYLOAD, size: int = len(PAYLOAD), cut: int = 128, **fields: object) -> bytes:
    words = {"magic": layouts.const("BITCODE_MAGIC"), "module_name": b"f", "entry_name": b"f_main"}
    header = layouts.pack("bitcode_header_t", bitcode_size=size, **{**words, **fields})
    return header[:cut] + payload


@pytest.mark.parametrize("header", [120, 124, 128])
def test_the_payload_is_found_behind_headers_of_each_size_in_the_field(header: int) -> None:
    data = wrapped(PAYLOAD + bytes(16), cut=header)
    found = read_wrapped(Bytes(data), ADDRESS, len(data))
    assert (found.entry, found.payload) == ("f_main", PAYLOAD)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (wrapped(magic=0x12345678), "no bitcode header"),
        (wrapped(b"XX" + PAYLOAD[2:]), "no LLVM payload"),
        (wrapped(bytes(64) + PAYLOAD), "no LLVM payload"),
        (wrapped(size=0), "promises 0 bytes"),
        (wrapped(size=len(PAYLOAD) + 1), "promises 105 bytes and 104 are there"),
        (wrapped(size=0xFFFFFFFF), "promises"),
        (wrapped(entry_name=b""), "names no entry"),
        (wrapped(entry_name=b"\x1b[31m rm -rf"), "names no entry"),
        (b"", "0 bytes, which is not possible"),
        (bytes(128), "128 bytes, which is not possible"),
    ],
)
def test_damage_is_told_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(BadBitcode, match=words) as caught:
        read_wrapped(Bytes(data), ADDRESS, len(data))
    assert str(caught.value).isprintable()


def test_a_size_beyond_the_limit_is_not_even_read() -> None:
    with pytest.raises(BadBitcode, match="not possible"):
        read_wrapped(Bytes(wrapped()), ADDRESS, 1 << 30)
