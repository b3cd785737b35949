"""Does the kernel's run say on COM1 what the specification says, and do its tables say the same?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from kernel_view import Kernel
from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.machine import Machine

FIRST_150_CALLS = """\
[ADAPTIVE-JIT] Initialized
[ADAPTIVE-JIT] Registered: fibonacci
[Call 1] Initial execution at O0
[RECOMPILE] fibonacci: O0 -> O1
[ATOMIC-SWAP] Code pointer updated to O1
[Call 100] Threshold reached - recompiling to O1...
[Call 101] Now running at O1
=== PROFILING STATISTICS ===
Total calls: 150
Final optimization level: O1
Recompilations triggered: 1 (O0->O1)
"""
TO_THE_END = """\
[RECOMPILE] fibonacci: O1 -> O2
[ATOMIC-SWAP] Code pointer updated to O2
[Call 1000] Threshold reached - recompiling to O2...
[Call 1001] Now running at O2
[RECOMPILE] fibonacci: O2 -> O3
[ATOMIC-SWAP] Code pointer updated to O3
[Call 10000] Threshold reached - recompiling to O3...
[Call 10001] Now running at O3
=== PROFILING STATISTICS ===
Total calls: 10001
Final optimization level: O3
Recompilations triggered: 3 (O0->O1->O2->O3)
"""
RESULTS = {
    "fibonacci": 6765,
    "sum": 5050,
    "compute": 4488500,
    "primes": 168,
    "fft_1d": 413810,
    "sha256": -439130484,
    "matrix_mul": 365,
    "quicksort": 364793253,
    "strops": -2130319159,
    "regex_dfa": 32,
    "gemm_tile": -635,
    "physics_step": 239089,
}
BOOT_CALLS = {name: {"compute": 10, "matrix_mul": 5}.get(name, 1) for name in RESULTS}


@pytest.fixture(scope="module")
def kernel(idle_machine: Machine) -> Kernel:
    return Kernel(idle_machine)


def test_with_the_real_thresholds_the_log_is_the_specified_one_to_the_line(booted: Callable[..., Machine]) -> None:
    kernel = Kernel(booted(thresholds=(100, 1000, 10000)))
    assert FIRST_150_CALLS + TO_THE_END in kernel.log
    assert kernel.profile("fibonacci").call_count == 10001


def test_with_other_thresholds_the_log_shows_those(kernel: Kernel) -> None:
    for line in ("[Call 10] Threshold reached - recompiling to O1...", "[Call 31] Now running at O3"):
        assert line + "\n" in kernel.log
    assert "Total calls: 60\n" not in kernel.log, "the first report is due after 60 calls, the run has 31"
    assert kernel.log.count("=== PROFILING STATISTICS ===") == 1


def test_every_module_passes_its_test_at_boot(kernel: Kernel) -> None:
    order = (
        "DYNAMIC MODULE SYSTEM - LLVM AOT\n[INIT] Loading embedded modules...\n",
        "[OK] Loaded 12 modules\n",
        "[TEST 1] Simple Sum Module\n  Result: 5050 (expected: 5050)\n  [OK] Test passed!\n",
        "[TEST 4] Prime Counting Module\n  Result: 168 (expected: 168)\n  [OK] Test passed!\n",
        "[TEST 7] Matrix Multiplication Module\n  Result: 365 (expected: 365)\n  [OK] Test passed!\n",
        "MODULE SYSTEM STATISTICS\nTotal modules loaded: 12\nTotal calls: 25\n",
        "[ADAPTIVE-JIT] Initialized\n",
    )
    places = [kernel.log.index(part) for part in order]
    assert places == sorted(places)
    assert kernel.log.count("  [OK] Test passed!\n") == 12
    assert "FAIL" not in kernel.log and "[ERROR]" not in kernel.log


def test_every_function_ends_at_o3_with_the_right_result(kernel: Kernel) -> None:
    for name, function in kernel.functions.items():
        assert (function.level, function.last_result, function.expected) == (3, RESULTS[name], RESULTS[name])
        assert kernel.profile(name).call_count == 31
        assert kernel.profile(name).opt_level == 3
        assert kernel.profile(name).is_hot == 1
    assert list(kernel.functions) == list(RESULTS)


def test_every_call_of_every_version_gives_the_right_result(booted: Callable[..., Machine]) -> None:
    machine = booted("registered", hold=1, call_sample=1)
    kernel = Kernel(machine)
    kernel.set_ring("type_mask", kernel.ring().type_mask | 1 << layouts.const("BF_EVENT_CALL"))
    kernel.set_root("hold", 0)
    wait_for_stage(machine, "idle")
    calls = kernel.events_of("CALL")
    assert len(calls) == 31 * len(RESULTS)
    levels = {version.number: version.level for version in kernel.versions()}
    for index, (name, expected) in enumerate(RESULTS.items()):
        mine = [call for call in calls if call.id == index]
        assert [levels[call.arg[0]] for call in mine] == [0] * 10 + [1] * 10 + [2] * 10 + [3]
        assert {call.arg[3] for call in mine} == {expected % 2**32}, name


def test_the_exported_json_is_what_the_tables_hold(kernel: Kernel) -> None:
    exported = kernel.exports("FUNCTION PROFILING DATA EXPORT")
    assert exported["format_version"] == "1.0"
    assert exported["num_modules"] == len(exported["modules"]) == 12
    for row in exported["modules"]:
        profile = kernel.profile(row["name"])
        assert (row["calls"], row["total_cycles"]) == (profile.call_count, profile.total_cycles)
        assert (row["min_cycles"], row["max_cycles"]) == (profile.min_cycles, profile.max_cycles)
        assert int(row["code_address"], 16) == profile.address
        assert row["loaded"] is True


def test_total_mean_minimum_and_maximum_fit_each_other_wherever_they_are_printed(kernel: Kernel) -> None:
    block = r"  Calls: (\d+)\n  Total cycles: (\d+)\n  Avg cycles: (\d+)\n  Min cycles: (\d+)\n  Max cycles: (\d+)\n"
    line = r" calls=(\d+) total=(\d+) avg=(\d+) min=(\d+) max=(\d+)\n"
    for pattern in (block, line):
        found = re.findall(pattern, kernel.log)
        assert len(found) == 12
        for calls, total, mean, least, most in (map(int, numbers) for numbers in found):
            assert mean == total // calls
            assert least > 0 and calls * least <= total <= calls * most
            # Both were measured: what remains of the total fits between them.
            assert calls > 1 or least == most == total
            assert calls < 2 or least + most + (calls - 2) * least <= total <= least + most + (calls - 2) * most


def test_lines_that_are_one_brace_frame_the_module_export_and_nothing_else(kernel: Kernel) -> None:
    # As it is cut out of a serial log: sed -n '/^{$/,/^}$/p' serial.log | python3 -m json.tool
    lines = kernel.log.splitlines()
    assert (lines.count("{"), lines.count("}")) == (1, 1)
    cut = json.loads("\n".join(lines[lines.index("{") : lines.index("}") + 1]))
    assert cut == kernel.exports("PROFILING DATA EXPORT")


def test_the_module_export_has_the_specified_keys_in_order(kernel: Kernel) -> None:
    exported = kernel.exports("PROFILING DATA EXPORT")
    assert list(exported) == ["format_version", "timestamp_cycles", "total_calls", "num_modules", "modules"]
    calls = {row["name"]: row["calls"] for row in exported["modules"]}
    assert calls == BOOT_CALLS
    assert exported["total_calls"] == 25
    keys = ["name", "calls", "total_cycles", "min_cycles", "max_cycles", "code_address", "code_size", "loaded"]
    assert all(list(row) == keys for row in exported["modules"])
    assert all(re.fullmatch("0x[0-9a-f]{8}", row["code_address"]) for row in exported["modules"])


def test_after_the_run_the_guest_idles_and_nothing_moves(kernel: Kernel) -> None:
    def state() -> tuple[bytes, bytes, str]:
        jit = kernel.read(kernel.root.adaptive_jit, 8216)
        return jit, kernel.read(kernel.root.function_table, 12 * 92), kernel.log

    turns, before = kernel.status.idle_loops, state()
    wait_for(lambda: kernel.status.idle_loops > turns + 50, "50 more turns of the idle loop")
    assert state() == before


def test_a_held_guest_waits_after_registration_and_goes_on_when_released(booted: Callable[..., Machine]) -> None:
    machine = booted("registered", hold=1)
    kernel = Kernel(machine)
    ticks = kernel.status.irq_count
    wait_for(lambda: kernel.status.irq_count > ticks + 20, "the guest to wait on")
    assert kernel.profile("fibonacci").call_count == 0
    kernel.set_root("hold", 0)
    wait_for_stage(machine, "idle")
    assert kernel.profile("fibonacci").call_count == 31
