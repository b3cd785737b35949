"""Two versions of a function side by side: what is aligned, what is shown, and that bytes of any kind are shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bareflow_gdb.guest.code.code_diff import align, disassemble, disassembler, pairs
from bareflow_gdb.guest.code.decoding import decode
from bareflow_gdb.render.disas import two_columns

OLD = bytes.fromhex("55 89e5 8b4508 0345 0c 5d c3".replace(" ", ""))
NEW = bytes.fromhex("55 89e5 8b450c 0345 08 83c001 5d c3".replace(" ", ""))


def test_instructions_have_offsets_sizes_and_intel_text() -> None:
    found = disassemble(OLD, 0x200010)
    assert [(i.offset, len(i.code), i.text) for i in found] == [
        (0, 1, "push ebp"),
        (1, 2, "mov ebp, esp"),
        (3, 3, "mov eax, dword ptr [ebp + 8]"),
        (6, 3, "add eax, dword ptr [ebp + 0xc]"),
        (9, 1, "pop ebp"),
        (10, 1, "ret"),
    ]


def test_a_trap_has_its_number_and_what_follows_is_not_taken_for_it() -> None:
    # clang -ftrapv: ud1 eax, dword ptr [eax + 0x16]; and ud1 eax, eax
    trap = bytes.fromhex("670fb94016 0fb9c0 5d c3 0fb9")
    assert [(i.code.hex(), i.text) for i in disassemble(trap, 0x200010)] == [
        ("670fb94016", "ud1"),
        ("0fb9c0", "ud1"),
        ("5d", "pop ebp"),
        ("c3", "ret"),
        ("0fb9", "ud1"),
    ]


@given(st.lists(st.sampled_from([b"\x90", OLD, b"\xc7\x83\0\xf0\xff\xff\0\2P\0", b"\xff\xff", b"\x0f"]), max_size=9))
def test_long_code_is_decoded_as_if_in_one_piece(parts: list[bytes]) -> None:
    code = b"".join(parts) * 300
    whole = list(disassembler(32).disasm_lite(code, 0x200000))
    assert list(decode(disassembler(32), code, 0x200000)) == whole


def test_a_branch_inside_the_code_is_an_offset_so_moved_code_is_equal() -> None:
    loop = bytes.fromhex("48 75fd c3".replace(" ", ""))
    assert [i.text for i in disassemble(loop, 0x200000)] == ["dec eax", "jne +0x0", "ret"]
    assert disassemble(loop, 0x200000) == disassemble(loop, 0x300000)


def test_operands_that_may_be_addresses_are_told_but_not_what_is_subtracted() -> None:
    # mov eax, [0x500100]; mov [ebx - 0x1000], 0x500200; add eax, 0x10 (no address is so low)
    code = bytes.fromhex("a100015000 c78300f0ffff00025000 83c010")
    assert [i.addresses for i in disassemble(code, 0x200000)] == [(0x500100,), (0x500200,), ()]


def test_a_call_that_leaves_the_code_keeps_its_address() -> None:
    assert disassemble(bytes.fromhex("e8fb0f0000"), 0x1000)[0].text == "call 0x2000"


def test_equal_instructions_share_a_row_and_changed_ones_face_each_other() -> None:
    rows = align(disassemble(OLD, 0x1000), disassemble(NEW, 0x2000))
    assert [row.equal for row in rows] == [True, True, False, False, False, True, True]
    assert rows[4].old is None and rows[4].new is not None and rows[4].new.text == "add eax, 1"


def test_padding_is_one_line_however_long() -> None:
    found = disassemble(b"\x90" * 5 + bytes.fromhex("0f1f00") + b"\xc3", 0)
    assert [(i.offset, i.text) for i in found] == [(0, "nop (8 bytes)"), (8, "ret")]


def test_the_columns_mark_what_differs_and_say_what_is_left_out() -> None:
    rows = align(disassemble(OLD, 0x1000), disassemble(NEW, 0x2000))
    lines = two_columns(pairs(rows), ("old", "new"), most=3)
    assert lines[0].split() == ["old", "new"]
    assert lines[1].split() == ["+000", "push", "ebp", "+000", "push", "ebp"]
    assert " | " in lines[3] and " | " not in lines[1]
    assert lines[4] == "… 4 more lines"


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0, 2**32 - 1024))
def test_bytes_of_any_kind_are_shown_completely(old: bytes, new: bytes, address: int) -> None:
    left, right = disassemble(old, address), disassemble(new, address)
    assert b"".join(i.code for i in left) == old
    rows = align(left, right)
    assert [row.old for row in rows if row.old] == left
    assert [row.new for row in rows if row.new] == right
    assert len(two_columns(pairs(rows), ("a", "b"))) == len(rows) + 1
