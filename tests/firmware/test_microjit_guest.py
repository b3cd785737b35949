"""Do the micro-JIT's and the C++ runtime's own tests run and pass inside the booted kernel?"""

from __future__ import annotations

import re

from bareflow_gdb.qemu.machine import Machine


def lines(machine: Machine, prefix: str) -> list[str]:
    return [line for line in machine.serial_path.read_text().splitlines() if line.startswith(prefix)]


def test_code_made_in_the_guest_returns_what_it_should(idle_machine: Machine) -> None:
    found = lines(idle_machine, "[MICRO-JIT]")
    results = [re.fullmatch(r"\[MICRO-JIT\] (.+) = (-?\d+) \(\d+ bytes\)  \[OK\]", line) for line in found]
    assert all(results), found
    assert [(match[1], int(match[2])) for match in results if match] == [
        ("return 42", 42),
        ("fibonacci(5)", 5),
        ("fibonacci(20)", 6765),
        ("sum(1..100)", 5050),
        ("loop(10)", 52),
    ]


def test_global_constructors_ran_before_the_kernel_and_cxx_works(idle_machine: Machine) -> None:
    found = lines(idle_machine, "[C++]")
    assert found[:2] == ["[C++] Global constructors called  [OK]", "[C++] in the order of their definition  [OK]"]
    assert len(found) == 5
    assert all(line.endswith("  [OK]") for line in found)
