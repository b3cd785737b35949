"""`bf break-swap` chooses: by function, tier, number and expression; the breakpoint is one of gdb's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, Gdb

from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]


@pytest.fixture
def held(booted: Boot) -> Machine:
    """A guest that waits before its run, with thresholds 10, 20 and 30."""
    return booted(stage="registered", hold=1)


def stops(gdb: Gdb, held: Machine, words: str) -> list[str]:
    """What is told of the swaps at which the guest is stopped by two `continue`."""
    commands = ("bf release", f"bf break-swap {words}", "tbreak idle", "continue", "continue")
    result = gdb.run(f"bf attach {held.name}", *commands, elf=KERNEL)
    assert "Error in testing" not in result.err + result.out, result.err
    return [line for line in result.out.splitlines() if "about to be published" in line]


def test_of_one_function_to_one_tier(gdb: Gdb, held: Machine) -> None:
    first, *rest = stops(gdb, held, "primes --to O2")
    assert first.startswith("primes: O1 → O2, call 20 (threshold)")
    assert not rest, "primes comes to O2 once"


def test_of_any_function_to_one_tier(gdb: Gdb, held: Machine) -> None:
    first, second = stops(gdb, held, "--to O3")
    assert first.startswith("fibonacci: O2 → O3") and second.startswith("sum: O2 → O3")


def test_from_the_nth_on(gdb: Gdb, held: Machine) -> None:
    first, second = stops(gdb, held, "primes --nth 2")
    assert first.startswith("primes: O1 → O2") and second.startswith("primes: O2 → O3")


def test_when_an_expression_is_true(gdb: Gdb, held: Machine) -> None:
    first, second = stops(gdb, held, "primes --when '$bf_calls(\"primes\") > 15'")
    assert first.startswith("primes: O1 → O2") and second.startswith("primes: O2 → O3")


def test_all_of_it_at_once_and_listed_as_gdbs_own(gdb: Gdb, held: Machine) -> None:
    words = "--to O1 --nth 3 --when '$edx != 0'"
    result = gdb.run(f"bf attach {held.name}", "bf release", f"bf break-swap {words}", "info breakpoints", "continue")
    assert "stops at each swap of any function to O1, from number 3 on, when $edx != 0" in result.out
    assert "stop only if $bf_tier($eax) == 1 && ($edx != 0)" in result.out
    assert "compute: O0 → O1, call 10 (threshold)" in result.out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--when 'nosuch > 1'", 'No symbol "nosuch"'),
        ("--when '1 +'", "A syntax error"),
        ("--nth 0", "swaps are counted from 1"),
        ("--to O9", "invalid choice"),
        ("nobody --to O1", "no function 'nobody' is registered"),
    ],
)
def test_what_cannot_be_chosen_is_one_sentence_and_leaves_nothing(
    gdb: Gdb, idle_machine: Machine, words: str, why: str
) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", f"bf break-swap {words}", "info breakpoints", elf=KERNEL)
    assert why in result.err and "Traceback" not in result.err
    assert "No breakpoints" in result.out


def test_on_a_stock_kernel_by_its_watchpoints(gdb: Gdb, firmware: Path, launched: Boot) -> None:
    machine = launched(firmware / "stock" / "stock.img", paused=True, with_disk=False)
    result = gdb.run(
        f"bf attach {machine.name}",
        "thbreak adaptive_jit_execute",
        "continue",
        "bf break-swap --nth 2",
        "bf break-swap fibonacci --to O1",
        "continue",
        "info breakpoints",
        elf=firmware / "stock" / "stock.elf",
    )
    assert "name the function that --nth counts swaps of" in result.err
    assert "fibonacci: O0 → O1" in result.out, result.out
    assert "stop only if $bf_tier(*(unsigned int *) 0x" in result.out


def test_the_tier_of_an_address(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        'p $bf_tier($bf_func("primes", "O2"))',
        "p $bf_tier(0x10000)",
        'p $bf_tier("primes")',
    )
    assert "$1 = 2" in result.out and "$2 = -1" in result.out
    assert "an address is a number" in result.err
