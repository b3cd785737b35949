"""Is the firmware within its limits? The sizes of the libraries and of the demo have tests of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import limits
from bareflow_gdb.build.limits import Limit


def test_every_size_is_within_its_limit(firmware: Path) -> None:
    found = limits.sizes(firmware)
    assert [limit.name for limit in found if not limit.met] == []
    assert [limit.limit / 1024 for limit in found] == [96, 10, 15, 14, 32]
    assert all(limit.value > 1024 for limit in found)


def test_the_kernel_carries_all_modules_at_o0_and_no_other_tier(firmware: Path) -> None:
    kernel = (firmware / "kernel.bin").read_bytes()
    images = sorted((firmware / "modules").glob("*.mod"))
    assert len(images) == 12 * layouts.const("BF_LEVELS")
    carried = [path.name for path in images if path.read_bytes() in kernel]
    assert carried == [path.name for path in images if ".O0." in path.name]


def test_profiling_adds_at_most_65_instructions_to_a_call(firmware: Path) -> None:
    _, profiling = limits.counted(firmware)
    assert 20 < profiling.value <= profiling.limit == 65


def test_a_figure_above_its_limit_is_marked() -> None:
    assert Limit("x", 3.25, 3, "ns").line().split() == ["x", "3.25", "of", "3", "ns", "TOO", "MUCH"]
    assert Limit("x", 3, 3, "bytes").line().split() == ["x", "3", "of", "3", "bytes", "ok"]


def test_the_boot_sector_reaches_main_within_a_second_of_instructions(firmware: Path) -> None:
    boot, _ = limits.counted(firmware)
    assert (boot.name, boot.limit) == ("boot sector to main", 1)
    assert boot.met and boot.value > 0


def test_what_depends_on_the_load_of_the_host_is_told_and_not_judged_here(firmware: Path) -> None:
    ring = limits.call_site(firmware)
    assert (ring.name, ring.limit, ring.unit) == ("ring off, a call site", 3, "ns")


def test_what_is_not_built_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(limits.BareflowError, match="llvm-size-19 could not read"):
        limits.archive_bytes(tmp_path / "no.a")
    assert limits.main(["--firmware", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("limits: ")


def test_make_info_prints_them(firmware: Path) -> None:
    command = ["make", "-n", "-C", str(Path(__file__).parents[2] / "firmware"), "info"]
    planned = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "bareflow_gdb.build.limits --firmware" in planned
    assert firmware.name in planned
