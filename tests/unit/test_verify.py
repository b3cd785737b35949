"""Old and new code are run over one memory: what differs is found, what only looks different is not, nothing hangs."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from guest_code import bitcode

from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.machine_code import uses
from bareflow_gdb.recompile.verify import inputs
from bareflow_gdb.recompile.verify.emulator import Emulator
from bareflow_gdb.recompile.verify.trial import BLOCK, Code, Trial, Verdict
from bareflow_gdb.recompile.verify.verifier import verify

OLD, NEW, DATA = 0, BLOCK, 2 * BLOCK
WRITABLE = DATA + 0x100
ALL = ((0, 3 * BLOCK),)
TYPICAL = ((20, 3), (0, 0), (1, 0), (2, 1), (-1, 5), (100, 100), (1 << 30, 7))

HEAD, TAIL = "55 89e5 8b4508", "5d c3"  # push ebp; mov ebp, esp; mov eax, a … pop ebp; ret
TWICE = bytes.fromhex(f"{HEAD} 01c0 {TAIL}")


def body(text: str) -> bytes:
    return bytes.fromhex(f"{HEAD} {text} {TAIL}")


def word(value: int) -> str:
    return struct.pack("<I", value).hex()


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return Emulator(bytes(3 * BLOCK))


def compared(emulator: Emulator, old: bytes, new: bytes, **changes: object) -> Verdict:
    """The verdict over memory in which both lie, and nothing else."""
    trial = Trial(
        old=Code(OLD, ((OLD, OLD + len(old)),)),
        new=Code(NEW, ((NEW, NEW + len(new)),)),
        code_size=len(new),
        code_address=NEW,
        rodata_address=0,
        ranges=ALL,
        inputs=TYPICAL,
        required=1,
        results_count=True,
        symbols=(("counter", WRITABLE, 4),),
    )
    content = bytearray(3 * BLOCK)
    content[: len(old)] = old
    emulator._snapshot = bytes(content)
    return verify(emulator, Trial(**{**vars(trial), **changes}), new)  # type: ignore[arg-type]


def test_code_that_does_the_same_in_another_way_agrees(emulator: Emulator) -> None:
    verdict = compared(emulator, TWICE, body("d1e0"))  # shl eax, 1
    assert verdict.compared == len(TYPICAL)
    assert (verdict.difference, verdict.not_run) == ("", "")


def test_the_smallest_input_that_differs_is_told(emulator: Emulator) -> None:
    one_more_from_18 = body("83f812 7c01 40 01c0")  # cmp eax, 18; jl; inc eax; add eax, eax
    verdict = compared(emulator, TWICE, one_more_from_18)
    assert verdict.difference == "with (18, 0) returns 38, the published code 36"
    assert not verdict.breaks_caller


def test_what_differs_with_large_arguments_only_may_be_the_sources_own_overflow(emulator: Emulator) -> None:
    halves_and_doubles = body("d1f8 01c0 8b5508 83e201 01d0")  # sar; add; mov edx, a; and edx, 1; add: a again
    overflows = body("01c0 d1f8")  # (2 * a) / 2
    verdict = compared(emulator, halves_and_doubles, overflows)
    assert verdict.difference.startswith(
        "with (1073741824, 0) returns -1073741824, the published code 1073741824 (the "
    )
    assert "signed overflow in its source may be the reason" in verdict.difference


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (body("01c0 bb00000000"), "does not keep EBX"),
        (body("01c0 31f6"), "does not keep ESI"),
        (bytes.fromhex(f"{HEAD} 01c0 5d c20400"), "returns with ESP 4 bytes too high"),
        (body("01c0 fd"), "returns with the direction flag set"),
        (body("01c0 d9e8"), "leaves 1 x87 register pushed"),
        (body("01c0 c7451400000000"), "writes over its caller's frame"),
        (body("01c0 ebfe"), "does not return within"),
        (body("01c0 31c9 f7f1"), "raises exception 0 at 0x"),
        (body("01c0 cd21"), "raises exception 33 at 0x"),
        (body("01c0 0f0b"), "stops at 0x"),
        (body("01c0 f4"), "halts at 0x"),
        (body("01c0 ec"), "uses the device at port 0x"),
        (body("01c0 c70500000c0000000000"), "touches 4 bytes at 0x000c0000"),
    ],
)
def test_what_breaks_the_caller_is_a_difference_although_results_do_not_count(
    emulator: Emulator, new: bytes, words: str
) -> None:
    verdict = compared(emulator, TWICE, new, results_count=False)
    assert verdict.breaks_caller
    assert f"the new code {words}" in verdict.difference


def test_other_results_are_noted_when_they_do_not_count(emulator: Emulator) -> None:
    verdict = compared(emulator, TWICE, body("40"), results_count=False)
    assert (verdict.compared, verdict.breaks_caller) == (len(TYPICAL), False)
    assert verdict.difference == "with (20, 3) returns 21, the published code 40"


def test_memory_that_is_left_different_is_named_by_its_variable(emulator: Emulator) -> None:
    count, skip = f"ff05{word(WRITABLE)}", f"8305{word(WRITABLE)}02"  # inc and add 2
    verdict = compared(emulator, body(count), body(skip))
    assert verdict.difference == "with (0, 0) leaves 0x00000002, the published code 0x00000001 in counter"
    assert not compared(emulator, body(count), body(count)).difference, "each call finds the memory as it was"


def test_an_address_in_its_own_code_is_no_difference(emulator: Emulator) -> None:
    stores = [f"c705{word(WRITABLE)}{word(start + 1)} b8{word(start + 2)}" for start in (OLD, NEW)]
    assert not compared(emulator, body(stores[0]), body(stores[1])).difference
    assert compared(emulator, body(stores[0]), body(stores[0].replace(word(OLD + 1), word(DATA)))).difference


def test_inputs_that_the_published_code_does_not_end_with_are_left_out(emulator: Emulator) -> None:
    endless_at_0 = body("85c0 74fe 01c0")  # test eax, eax; jz itself
    verdict = compared(emulator, endless_at_0, TWICE)
    assert (verdict.compared, verdict.difference) == (len(TYPICAL) - 1, "")
    assert verdict.not_run == "the published code does not return within 200,000 instructions"


def test_a_loop_that_llvm_had_made_one_step_of_is_not_taken_to_be_endless(emulator: Emulator) -> None:
    loop = body("89c1 31c0 85c9 7e05 83c002 e2fb")  # mov ecx, eax; xor eax, eax; test; jle; add eax, 2; loop
    positive = body("85c0 7902 31c0 01c0")  # negative ones are 0
    verdict = compared(emulator, positive, loop)
    assert (verdict.compared, verdict.difference) == (len(TYPICAL) - 1, "")
    assert verdict.not_run == "the new code does not return within 1,700,000 instructions", "with 2^30"


def test_recursion_that_llvm_had_made_a_loop_of_is_not_taken_to_be_wrong(emulator: Emulator) -> None:
    # test eax, eax; jle; dec eax; push 0; push eax; call itself; add esp, 8; inc eax; jmp; xor eax, eax
    recursive = body("85c0 7e0f 48 6a00 50 e8edffffff 83c408 40 eb02 31c0")
    verdict = compared(emulator, body("85c0 7902 31c0"), recursive)
    assert (verdict.compared, verdict.difference) == (len(TYPICAL) - 1, "")
    assert verdict.not_run == "the new code needs more than 262,144 bytes of stack"


def test_nothing_is_agreed_upon_when_nothing_could_be_run(emulator: Emulator) -> None:
    verdict = compared(emulator, body("e464"), TWICE)  # in al, 0x64
    assert (verdict.compared, verdict.not_run) == (0, "the published code uses the device at port 0x64")


def test_code_that_changes_itself_and_exceptions_leave_nothing_for_the_next_call(emulator: Emulator) -> None:
    # cmp eax, 1; jne; mov byte [the 1], 7; jmp; add eax, 1
    adds_seven_to_one = body(f"83f801 7507 c605{word(0x16)}07 eb00 83c001")
    emulator._snapshot = adds_seven_to_one.ljust(64, b"\0") + body("31c9 f7f1") + bytes(3 * BLOCK)
    emulator.load(ALL, {})
    for _ in range(3):
        assert [emulator.call(0, value, 0, 1000).result for value in (2, 1, 2)] == [3, 8, 3]
        assert emulator.call(64, 0, 0, 1000).ended.startswith("raises exception 0 ")


@pytest.mark.parametrize("pair", [(7, 0), (-7, 3), (0, -1), (-(1 << 31), (1 << 31) - 1)])
def test_smaller_inputs_lead_to_zero(pair: tuple[int, int]) -> None:
    steps = 0
    while following := inputs.smaller(pair):
        pair, steps = following[-1], steps + 1
        if steps > 40:
            pair = following[0]
    assert pair == (0, 0)


def test_the_guests_own_inputs_come_first_and_once() -> None:
    pairs, own = inputs.choose((20, 0), [(20, 0), (3, 4), (3, 4)], "fibonacci")
    assert (pairs[:2], own) == (((20, 0), (3, 4)), 2)
    assert len(set(pairs)) == len(pairs)
    assert pairs == inputs.choose((20, 0), [(3, 4)], "fibonacci")[0], "the same each time"
    assert all(-(1 << 31) <= value < 1 << 31 for pair in pairs for value in pair)
    assert inputs.choose((-(1 << 31), (1 << 31) - 1), [], "edge")[1] == 1


def test_a_trial_and_a_verdict_survive_the_pipe() -> None:
    trial = Trial(Code(1, ((1, 2),)), Code(3, ((3, 4),)), 5, 6, 7, ((0, 8),), ((9, 10),), 1, True, (("n", 11, 4),))
    assert Trial.from_json(trial.to_json()) == trial
    verdict = Verdict(3, "with (0, 0) …", True, "", 1.5, (0, 2), (BLOCK,))
    assert Verdict.from_json(verdict.to_json()) == verdict
    for field, value in (("compared", "many"), ("compared", float("inf")), ("ran", 7), ("milliseconds", float("nan"))):
        nonsense = verdict.to_json() | {field: value}
        with pytest.raises((KeyError, TypeError, ValueError, OverflowError)):
            Verdict.from_json(nonsense)


def test_what_cannot_be_compared_is_seen_in_the_code() -> None:
    assert uses(body("01c0")) == frozenset()
    assert uses(body("d9e8 ddd8")) == {"x87"}
    assert uses(body("0f31")) == {"clock"}


def test_without_unicorn_llvm_works_and_it_is_said_that_nothing_was_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unicorn.py").write_text("raise ImportError('libunicorn.so is for another CPU')")
    monkeypatch.syspath_prepend(str(tmp_path))
    payload = bitcode(tmp_path, "int f(int a, int b) { return a + b; }")
    with Compiler(verifies=True) as compiler:
        assert compiler.compile(payload, "f", 3).data
        nowhere = Code(0, ())
        compiler.begin_trial(Trial(nowhere, nowhere, 0, 0, 0, (), (), 0, True, ()), b"")
        while (verdict := compiler.poll_trial(1.0)) is None:
            pass
    assert verdict.compared == 0
    assert verdict.not_run == "unicorn cannot be used here (ImportError: libunicorn.so is for another CPU)"
