"""Does the kernel's module system run on the host too, and do all tiers there agree with Python on 1,000 inputs?"""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path

import pytest
from references import REFERENCES

INPUTS = 1000
RANGES = {
    "fibonacci": ((-3, 60), (-1000, 1000)),
    "sum": ((-200, 200), (-200, 200)),
    "compute": ((-2, 40), (-2, 40)),
    "primes": ((-10, 2200), (-10, 2200)),
    "fft_1d": ((-100, 100), (-100, 100)),
    "sha256": ((-1, 1030), (-1000, 1000)),
    "matrix_mul": ((-1, 18), (0, 1000)),
    "quicksort": ((-1, 130), (-1000, 1000)),
    "strops": ((-1, 60), (0, 1000)),
    "regex_dfa": ((-1, 600), (-1000, 1000)),
    "gemm_tile": ((-1, 9), (0, 1000)),
    "physics_step": ((-1, 60), (-5000, 5000)),
}


@pytest.fixture(scope="module")
def program(firmware: Path) -> Path:
    return firmware / "user" / "module_test"


def test_the_module_tests_pass_in_user_space(program: Path) -> None:
    ended = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.startswith("MODULE SYSTEM TEST (USERSPACE)\n")
    assert ended.stdout.endswith("=== ALL MODULE TESTS COMPLETED ===\n")
    assert ended.stdout.count("  [OK] Test passed!\n") == len(REFERENCES)
    assert "\n10 / 10 tests passed\n" in ended.stdout
    assert "[MODULE-TEST] 17 of 17 passed\n" in ended.stdout
    assert "FAIL" not in ended.stdout


@pytest.mark.parametrize("name", RANGES)
def test_every_tier_agrees_with_python_on_1000_inputs(program: Path, firmware: Path, name: str) -> None:
    generator = random.Random(name)
    (low_a, high_a), (low_b, high_b) = RANGES[name]
    inputs = [(generator.randint(low_a, high_a), generator.randint(low_b, high_b)) for _ in range(INPUTS)]
    expected = [REFERENCES[name](a, b) for a, b in inputs]
    assert len(set(expected)) > 10, "the inputs decide the result"
    sent = b"".join(struct.pack("<ii", a, b) for a, b in inputs)
    for level in range(4):
        image = firmware / "modules" / f"{name}.O{level}.mod"
        ended = subprocess.run([program, image], input=sent, capture_output=True, timeout=60, check=True)
        assert list(struct.unpack(f"<{INPUTS}i", ended.stdout)) == expected, f"O{level}"


def test_a_damaged_image_is_refused_with_the_reason(program: Path, firmware: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mod"
    content = bytearray((firmware / "modules" / "sum.O2.mod").read_bytes())
    content[0x40] ^= 1
    damaged.write_bytes(content)
    ended = subprocess.run([program, damaged], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout == f"module_test: {damaged}: the SHA-256 does not match\n"
