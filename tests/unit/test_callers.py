"""A caller is one that a call proves: of code with a frame, without one, in its first and in its last instructions."""

from __future__ import annotations

import struct

import pytest
from fake_guest import Bytes

from bareflow_gdb.guest.code.callers import Caller, FrameRule, call_before, find_caller

FUNCTION, CALLER, ESP, EBP = 0x11000, 0x10400, 0x8F000, 0x8F100
INDIRECT = {"ffd0": True, "ff10": True, "ff5508": True, "ff1424": True, "ff542404": True, "ff15001b0100": True}


def guest(code: str, stack: dict[int, int], call: str = "") -> Bytes:
    """A function at FUNCTION, a call of it that ends at CALLER, and words of the stack."""
    memory = Bytes(1 << 20)
    memory.put(FUNCTION, bytes.fromhex(code))
    before = bytes.fromhex(call) if call else b"\xe8" + struct.pack("<i", FUNCTION - CALLER)
    memory.put(CALLER - len(before), before)
    for address, word in stack.items():
        memory.put(address, struct.pack("<I", word))
    return memory


@pytest.mark.parametrize("code", INDIRECT)
def test_a_call_through_a_pointer_is_seen_by_its_length(code: str) -> None:
    call = call_before(guest("c3", {}, code), CALLER)
    assert call is not None and call.target is None
    assert call_before(guest("c3", {}, "90" * 6 + "d0"), CALLER) is None


@pytest.mark.parametrize(
    ("code", "at", "stack", "expected"),
    (
        # push ebp; mov ebp, esp; push ebx; nop; pop ebx; pop ebp; ret
        ("5589e553905b5dc3", 0, {ESP: CALLER}, Caller(CALLER, ESP + 4, EBP, FUNCTION)),
        ("5589e553905b5dc3", 1, {ESP: EBP, ESP + 4: CALLER}, Caller(CALLER, ESP + 8, EBP, FUNCTION)),
        ("5589e553905b5dc3", 4, {EBP: 0x8F200, EBP + 4: CALLER}, Caller(CALLER, EBP + 8, 0x8F200, FUNCTION)),
        ("5589e553905b5dc3", 7, {ESP: CALLER}, Caller(CALLER, ESP + 4, EBP, FUNCTION)),
        # No frame: push ebx; push ebp; sub esp, 8; nop …
        ("535583ec0890909090", 6, {ESP + 8: 0x8F300, ESP + 16: CALLER}, Caller(CALLER, ESP + 20, 0x8F300, FUNCTION)),
        # … with two pushed arguments that it does not take back yet.
        ("535583ec0890909090", 6, {ESP + 16: 0x8F300, ESP + 24: CALLER}, Caller(CALLER, ESP + 28, 0x8F300, FUNCTION)),
        # A leaf without anything, EBP a general register.
        ("31c04090c3", 2, {ESP: CALLER, EBP + 4: 0x10777}, Caller(CALLER, ESP + 4, EBP, FUNCTION)),
    ),
)
def test_the_caller_of_a_known_function(code: str, at: int, stack: dict[int, int], expected: Caller) -> None:
    assert find_caller(guest(code, stack), FUNCTION + at, ESP, EBP, FUNCTION) == expected


def test_without_the_entry_a_call_on_the_stack_tells_it() -> None:
    memory = guest("535583ec0890909090", {ESP + 8: 0x8F300, ESP + 16: CALLER})
    assert find_caller(memory, FUNCTION + 6, ESP, EBP) == Caller(CALLER, ESP + 20, 0x8F300, FUNCTION)


def test_a_function_that_ended_before_is_not_the_one_that_runs() -> None:
    # What was called ends with `ret` and padding; the program counter is in the next function.
    memory = guest("31c0c3" + "90" * 13 + "909090", {ESP: CALLER})
    assert find_caller(memory, FUNCTION + 17, ESP, EBP) is None


@pytest.mark.parametrize("entry", (0, FUNCTION))
def test_what_no_call_proves_is_not_a_caller(entry: int) -> None:
    memory = guest("31c04090c3", {ESP: 0x10777, EBP + 4: 0x10888})
    assert find_caller(memory, FUNCTION + 2, ESP, EBP, entry) is None


def test_a_frame_table_says_it_where_there_is_one() -> None:
    class Tables:
        def rule(self, address: int) -> FrameRule | None:
            return FrameRule("esp", 12, -8) if address == FUNCTION + 2 else None

    memory = guest("31c04090c3", {ESP + 4: 0x8F300, ESP + 8: CALLER})
    assert find_caller(memory, FUNCTION + 2, ESP, EBP, 0, Tables()) == Caller(CALLER, ESP + 12, 0x8F300, 0)


def test_a_stack_that_cannot_be_read_has_no_caller() -> None:
    assert find_caller(guest("c3", {}), FUNCTION, 0xFFFFFFF0, EBP, FUNCTION) is None
