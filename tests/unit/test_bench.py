"""The benchmarks are run by hand only: that they can be, a test says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.row import row

ROOT = Path(__file__).resolve().parents[2]


def test_the_benchmarks_start_as_make_bench_starts_them(tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "bench" / "run.py", "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and "--json" in done.stdout


def test_a_goal_is_met_or_missed_by_its_direction_and_one_that_is_not_there_is_met() -> None:
    met = [row("", 3, "s", 3, "lower"), row("", 3, "x", 3), row("", 3, "s", None, "lower")]
    missed = [row("", 3.1, "s", 3, "lower"), row("", 2.9, "x", 3)]
    assert all(one["met"] for one in met) and not any(one["met"] for one in missed)
