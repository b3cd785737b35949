"""What code leaves at its returns, read off its bytes: what is broken is told, what compilers do is not."""

from __future__ import annotations

import random
import struct

import pytest

from bareflow_gdb.guest.code.kept import not_kept
from bareflow_gdb.guest.code.paths import reachable

AT = 0x200010
TABLE = 0x240000
FRAME, END = b"\x55\x89\xe5", b"\x5d\xc3"


def broken(code: bytes, table: tuple[int, ...] = ()) -> list[str]:
    words = {TABLE + 4 * index: target for index, target in enumerate(table)}
    return [one.what for one in not_kept(reachable(code, AT, AT, words.get), AT)]


KEPT = {
    "a frame": FRAME + b"\x31\xc0" + END,
    "registers pushed and popped": FRAME + b"\x53\x56\x57\xbb\x01\x00\x00\x00\x5f\x5e\x5b" + END,
    "a register kept in a local": FRAME + b"\x83\xec\x08\x89\x5d\xfc\x31\xdb\x8b\x5d\xfc\x89\xec" + END,
    "an aligned stack": FRAME + b"\x57\x83\xe4\xf0\x83\xec\x20\x31\xff\x8d\x65\xfc\x5f" + END,
    "rounding to an integer": FRAME
    + b"\x83\xe4\xf8\x83\xec\x10\xd9\xe8\xd9\x7c\x24\x0e\xd9\x6c\x24\x0c\xdb\x5c\x24\x04\xd9\x6c\x24\x0e\x89\xec"
    + END,
    "all registers": b"\x60\x31\xdb\x31\xf6\x31\xff\x31\xed\x61\xc3",
    "its own address": b"\xe8\x00\x00\x00\x00\x58\xc3",
    "a string backwards": b"\xfd\xfc\x31\xc0\xc3",
    "a loop that allocates": FRAME + b"\xb9\x05\x00\x00\x00\x50\x49\x75\xfc\x89\xec" + END,
    "arguments of a call": FRAME + b"\x6a\x01\xe8\x05\x00\x00\x00\x83\xc4\x04\x5d\xc3\x31\xc0\xc3",
    "a call that takes its arguments": FRAME + b"\x6a\x01\xe8\x02\x00\x00\x00\x5d\xc3\x31\xc0\xc2\x04\x00",
}


@pytest.mark.parametrize("name", KEPT)
def test_what_compilers_do_is_kept(name: str) -> None:
    assert broken(KEPT[name]) == []


BROKEN = {
    "a register popped into another": (FRAME + b"\x53\x56\x31\xdb\x31\xf6\x5b\x5e" + END, ["EBX", "ESI"]),
    "a stack that is too deep": (b"\x50\x31\xc0\xc3", ["4 bytes too low"]),
    "one path of two": (FRAME + b"\x53\x85\xc0\x74\x02\x31\xdb\x58" + END, ["EBX"]),
    "a call that takes too much": (FRAME + b"\xe8\x02\x00\x00\x00\x5d\xc3\x31\xc0\xc2\x04\x00", ["4 bytes too high"]),
    "the direction flag": (b"\xfd\xc3", ["direction flag"]),
    "the x87 stack": (b"\xd9\xe8\xc3", ["+1 values"]),
    "MMX": (b"\x0f\x6e\xc0\xc3", ["MMX"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_kept_is_told(name: str) -> None:
    code, words = BROKEN[name]
    told = broken(code)
    assert len(told) == len(words), told
    assert all(word in text for word, text in zip(words, told, strict=True)), told


def test_ways_through_a_table_are_followed_and_data_is_not_read_as_code() -> None:
    # jmp [eax*4 + TABLE]; four bytes of data; std; ret
    code = b"\xff\x24\x85" + struct.pack("<I", TABLE) + b"\xff\xff\xff\xff" + b"\xfd\xc3"
    assert "direction flag" in broken(code, (AT + 11,))[0]
    assert set(reachable(code, AT, AT, {TABLE: AT + 11}.get)) == {AT, AT + 11, AT + 12}


def test_hostile_code_comes_to_an_end() -> None:
    chance = random.Random(1)
    for _ in range(20):
        broken(chance.randbytes(2000))
    # Calls without end, and pushes without end.
    broken(b"\xe8\x01\x00\x00\x00" * 3000)
    broken(b"\x50\x75\x00" * 20000)
