"""The registry of checks: what becomes of a check that finds something, cannot look, or would cost too much."""

from __future__ import annotations

import pytest
from asking import ask
from fake_guest import FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.values import NO_MINIMUM
from bareflow_gdb.guest.code.callee_saved import not_saved
from bareflow_gdb.guest.code.log_lines import boots
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.cpu import CpuRegisters, SegmentRegister


def subject(printed: str | None = None) -> Subject:
    guest = Guest.attach(FakeGuest().build())
    return Subject(guest.kernel, serial=None if printed is None else lambda: printed)


def found(name: str, printed: str) -> list[str]:
    return [str(finding) for finding in registry.run(subject(printed), [name]).findings]


def test_every_check_says_what_it_needs_and_looks_at() -> None:
    for name in registry.names():
        listed = registry.listed(name)
        assert listed.needs and listed.looks_at and not listed.looks_at.endswith("."), name


def test_an_unknown_check_names_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"there is no check 'colour'; there are: .*refused"):
        registry.load("colour")


def test_what_was_refused_is_named_with_the_line_that_says_so() -> None:
    said = found("refused", "[serial] init ok\n[CACHE] COMPUTE.O1 refused: the SHA-256 does not match\n")
    assert said == [
        "the kernel refused a tier of the disk (COMPUTE.O1): it printed "
        "'[CACHE] COMPUTE.O1 refused: the SHA-256 does not match'"
    ]


def test_what_a_self_test_has_refused_on_purpose_is_no_finding() -> None:
    text = "[serial] init ok\nCODE pool allocation failed\n[POOL] Test 8: exhaustion is refused: passed\n"
    assert found("refused", text) == []
    assert found("self_tests", text.replace("passed", "FAILED")) != []


def test_a_reset_and_a_loop_are_told_apart() -> None:
    one = "[serial] init ok\n[boot] up\n"
    assert found("resets", one) == []
    assert "it has booted twice" in found("resets", one * 2)[0]
    assert "reboots in a loop: 4 boots" in found("resets", one * 4)[0]
    assert boots("noise\n" + one * 2) == [one, one]
    assert boots("no first line") == ["no first line"]


def test_a_hostile_log_is_bounded() -> None:
    findings = found("refused", "".join(f"[DISK] F{n}.MOD was not loaded\n" for n in range(10_000)))
    assert len(findings) == 21
    assert "9,980" in findings[-1] or "9980" in findings[-1]


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        (b"\x55\x89\xe5\x53\xbb\x01\x00\x00\x00\x5b\xc9\xc3", []),
        (b"\x55\x89\xe5\xbb\x01\x00\x00\x00\xc9\xc3", ["ebx"]),
        (b"\x55\x89\xe5\x0f\xbe\x00\xc9\xc3", []),
        (b"\x55\x89\xe5\xf3\xab\xc9\xc3", ["edi"]),
    ],
    ids=["saved", "written", "movsx is no string instruction", "rep stosd"],
)
def test_registers_of_the_caller_that_are_overwritten_are_read_off_the_code(code: bytes, lost: list[str]) -> None:
    assert [one.register for one in not_saved(code, 0x1000)] == lost


def test_the_question_gives_the_findings_and_their_verdict() -> None:
    record = ask(Guest.attach(FakeGuest().build()), "checks", check=None, all=True).record
    assert {one.name for one in record.checks} == set(registry.names())


@pytest.mark.parametrize(("linear", "said"), [(0xEFA99, True), (0xFE05B, True), (0xFFFFFFF0, True), (0x20000, False)])
def test_a_cpu_in_the_bios_was_reset_whatever_the_boot_record_says(
    linear: int, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = FakeGuest().build()
    registers = CpuRegisters(
        general={"eip": linear, "eflags": 0x202},
        segments={"cs": SegmentRegister(8, 0, 0xFFFFFFFF)},
        control={"cr0": 0x11},
    )
    monkeypatch.setattr(memory, "cpu", lambda: registers)
    findings = registry.run(Subject(Guest.attach(memory).kernel), ["halted"]).findings
    assert any("the CPU is in the BIOS" in str(finding) for finding in findings) == said


@pytest.mark.parametrize(("reason", "told"), [("THRESHOLD", ["alpha stays at O1 after 150 calls"]), ("HOST_ASKED", [])])
def test_a_function_behind_its_threshold_is_told_unless_somebody_chose_its_tier(reason: str, told: list[str]) -> None:
    fake = FakeGuest()
    # alpha has 150 calls and runs version 3, O1.
    fake.root["thresholds"] = (100, 120, 10000)
    fake.versions[2]["reason"] = layouts.const(f"BF_REASON_{reason}")
    guest = Guest.attach(fake.build())
    part = registry.run(Subject(guest.kernel), ["thresholds"])
    assert [one.what for one in part.findings] == told


def test_a_call_under_way_is_counted_and_has_no_cycles_yet() -> None:
    fake = FakeGuest()
    fake.profiles[1] |= {"call_count": 1, "total_cycles": 0, "min_cycles": NO_MINIMUM, "max_cycles": 0}
    fake.functions[1]["last_result"] = 0
    kernel = Guest.attach(fake.build()).kernel
    for name in ("statistics", "results"):
        assert registry.run(Subject(kernel), [name]).findings == (), name
    fake.profiles[1]["call_count"] = 2
    assert [one.what for one in registry.run(Subject(Guest.attach(fake.build()).kernel), ["statistics"]).findings] == [
        "the cycles counted for beta cannot be"
    ]


@pytest.mark.parametrize(("first_executed", "told"), [(13_500_000, 1), (30_000_000, 0)])
def test_calls_of_versions_that_were_made_after_the_run_took_their_time_then(first_executed: int, told: int) -> None:
    fake = FakeGuest()
    # The run took a million ticks.
    fake.profiles[0] |= {"call_count": 2, "total_cycles": 5_000_000, "min_cycles": 2_400_000, "max_cycles": 2_600_000}
    fake.versions[2]["tsc_first"] = first_executed
    findings = registry.run(Subject(Guest.attach(fake.build()).kernel), ["statistics"]).findings
    assert [one.what for one in findings] == ["more cycles are counted than have passed"] * told
