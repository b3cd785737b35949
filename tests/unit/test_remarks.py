"""LLVM's remarks and its report of passes become records; what is kept of a version is read again, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.guest.code import remarks
from bareflow_gdb.guest.code.remarks import Making, Remark, parse, summary
from bareflow_gdb.recompile.pass_times import parse_report

LINES = (
    "remark: modules/m.c:30:32: 'dot' inlined into 'm_main' with (cost=5, threshold=525) at callsite m_main:1:2;",
    "remark: modules/m.c:12:5: completely unrolled loop with 4 iterations",
    "remark: modules/m.c:13:36: hoisting shl",
    "remark: <unknown>:0:0: loop not vectorized: value could not be identified as an induction",
    "remark: m\x1b[31m.c:9999999999:1: no line has so many digits",
    "'-avx10.1-256' is not a recognized feature for this target (ignoring feature)",
)
REPORT = """
  Total Execution Time: 0.0251 seconds (0.1254 wall clock)

   ---User Time---   --System Time--   --User+System--   ---Wall Time---  --- Name ---
   0.0029 ( 11.6%)   0.0000 (  0.0%)   0.0129 ( 11.5%)   0.0233 ( 18.6%)  InstCombinePass
   0.0029 ( 11.5%)   0.0000 (  0.0%)   0.0029 ( 11.5%)   0.0233 ( 18.6%)  InstCombinePass
   0.0250 ( 11.5%)   0.0000 (  0.0%)   0.0250 ( 11.5%)   0.0233 ( 18.6%)  SROAPass
   0.0251 (100.0%)   0.0000 (100.0%)   0.0251 (100.0%)   0.1254 (100.0%)  Total
"""


def test_remarks_are_told_apart_by_what_was_done_and_ordered_by_place() -> None:
    found = parse(LINES)
    assert [(one.file, one.line, one.kind) for one in found] == [
        ("", 0, "missed"),
        ("m.c", 12, "unrolled"),
        ("m.c", 13, "moved out of loops"),
        ("m.c", 30, "inlined"),
    ]
    assert summary(Making(found, (("SROAPass", 25.04),))) == (
        "1 inlined, 1 unrolled, 1 moved out of loops, 1 missed; slowest pass SROAPass, 25.0 ms"
    )
    assert summary(Making((), ())) == "none"


def test_the_report_of_passes_is_read_by_its_titles() -> None:
    assert parse_report(REPORT) == (("SROAPass", 25.0), ("InstCombinePass", 12.9))
    alone = REPORT.replace("--User+System--", "").replace("  --System Time--", "")
    assert parse_report(alone)[0][0] == "SROAPass", "LLVM leaves out the columns in which nothing was measured"
    assert parse_report("") == () and parse_report("--- Name ---\n1 2 3") == ()


def test_what_is_kept_of_a_version_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "jit").mkdir()
    path = tmp_path / "jit" / remarks.file_name(7)
    path.write_bytes(remarks.encode(LINES, (("SROAPass", 1.5),)))
    assert remarks.read(tmp_path, 7) == Making(parse(LINES), (("SROAPass", 1.5),))
    with pytest.raises(UsageError, match="no remarks are kept of version 8"):
        remarks.read(tmp_path, 8)
    for damage in (
        b"",
        b"[]",
        b'{"remarks": 1, "passes": []}',
        b'{"remarks": [], "passes": [["x", NaN]]}',
        b"[" * 9999,
    ):
        path.write_bytes(damage)
        with pytest.raises(BadData, match="is damaged"):
            remarks.read(tmp_path, 7)


def test_text_from_outside_keeps_no_control_characters() -> None:
    (one,) = parse(["remark: a/b\x1b.c:1:2: hoisting \x1b[31mred"])
    assert one == Remark("b?.c", 1, 2, one.text, False) and "\x1b" not in one.text
