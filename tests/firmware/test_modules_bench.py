"""Does BENCH=1 build a kernel with three benchmark modules more, and are their results right?"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_view import Kernel
from machines import SECONDS
from references import BENCH_REFERENCES, REFERENCES

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch

ROOT = Path(__file__).parents[2]
INPUTS = 200


@pytest.fixture(scope="module")
def built(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is built with BENCH=1, from a copy of the build without, so that little is compiled."""
    out = tmp_path_factory.mktemp("bench") / "firmware"
    shutil.copytree(firmware, out, ignore=shutil.ignore_patterns("*.img", "stock*", "tinyllama*"))
    targets = [f"{out}/{name}" for name in ("fluid.img", "fat16.img", "user/module_test")]
    words = ["make", "-C", str(ROOT / "firmware"), "BENCH=1", f"OUT={out}", f"PYTHON={sys.executable}"]
    made = subprocess.run([*words, *targets], capture_output=True, text=True, timeout=600, check=False)
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="module")
def kernel(built: Path) -> Iterator[Kernel]:
    machine = launch(built / "fluid.img", settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(machine, "idle", SECONDS)
    yield Kernel(machine)
    machine.stop()


def test_the_three_are_loaded_tested_and_reach_o3(kernel: Kernel) -> None:
    assert "[OK] Loaded 15 modules\n" in kernel.log
    assert kernel.log.count("  [OK] Test passed!\n") == 15
    assert list(kernel.functions) == [*REFERENCES, *BENCH_REFERENCES]
    for name, reference in BENCH_REFERENCES.items():
        function = kernel.functions[name]
        assert (function.level, function.last_result) == (3, reference(*function.arguments))


@pytest.mark.parametrize("name", BENCH_REFERENCES)
def test_every_tier_agrees_with_python(built: Path, name: str) -> None:
    generator = random.Random(name)
    largest = 4 if name == "bench_memory" else 500
    inputs = [(generator.randint(-1, largest), generator.randint(0, largest)) for _ in range(INPUTS)]
    expected = [BENCH_REFERENCES[name](a, b) for a, b in inputs]
    sent = b"".join(struct.pack("<ii", a, b) for a, b in inputs)
    for level in range(4):
        words = [built / "user" / "module_test", built / "modules" / f"{name}.O{level}.mod"]
        ended = subprocess.run(words, input=sent, capture_output=True, timeout=60, check=True)
        assert list(struct.unpack(f"<{INPUTS}i", ended.stdout)) == expected, f"O{level}"


def test_the_kernel_without_bench_has_none_of_them(firmware: Path) -> None:
    assert b"bench_memory" not in (firmware / "kernel.bin").read_bytes()
