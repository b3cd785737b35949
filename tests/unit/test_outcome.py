"""The outcome of a recompilation survives its way to gdb as JSON, and reads the same in both UIs."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.outcome import Outcome, Phases
from bareflow_gdb.render.jsonable import to_json
from bareflow_gdb.render.outcome import outcome

INSTALLED = Outcome(
    function="primes",
    request=7,
    level=3,
    state="installed",
    reason="none",
    message="",
    version=49,
    code=Address(0x209620),
    code_size=291,
    rodata=Address(0),
    rodata_size=0,
    result=168,
    expected=168,
    correct=True,
    milliseconds=Phases(request=0.4, compile=30.0, link=2.0, install=1.0, total=41.6),
    remarks=("remark: f.c:1:1: f inlined into g",),
    passes=(("SROAPass", 1.5),),
    symbol_file="/m/jit/v49.elf",
)
REJECTED = dataclasses.replace(
    INSTALLED,
    state="rejected",
    reason="bad_bitcode",
    message="LLVM refuses the bitcode; build it again",
    version=None,
    code=Address(0),
    result=None,
    correct=None,
    symbol_file=None,
)


@pytest.mark.parametrize("record", [INSTALLED, REJECTED])
def test_json_and_back_is_the_same_record(record: Outcome) -> None:
    assert Outcome.from_json(json.loads(json.dumps(to_json(record)))) == record


@pytest.mark.parametrize("changes", [{"code": 7}, {"milliseconds": {"lunch": 3.0}}, {"more": 1}])
def test_another_record_is_no_outcome(changes: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Outcome.from_json(to_json(INSTALLED) | changes)


def test_the_text_of_an_installed_version() -> None:
    assert outcome(INSTALLED, remarks=True).splitlines() == [
        "primes@O3 #49 installed, 291 bytes at 0x00209620",
        "  first call  168 (as expected)",
        "  ms          request 0.4, compile 30.0, link 2.0, install 1.0; 41.6 ms in all",
        "  symbols     /m/jit/v49.elf",
        "  remarks     1 inlined; slowest pass SROAPass, 1.5 ms",
        "  remark: f.c:1:1: f inlined into g",
        "  no loop is vectorised: the guest's CPU has no vector registers",
        "  pass        SROAPass 1.5 ms",
    ]
    wrong = dataclasses.replace(INSTALLED, result=167, correct=False, rodata=Address(0x400010), rodata_size=8)
    first, second, *_ = outcome(wrong).splitlines()
    assert first.endswith(", 8 read-only at 0x00400010") and second == "  first call  167 (expected 168)"


def test_the_text_of_a_rejection_is_one_line() -> None:
    assert outcome(REJECTED, remarks=True) == (
        "primes@O3 rejected (bad bitcode): LLVM refuses the bitcode; build it again"
    )
