"""Markdown of an answer: its tables are tables, and no name of a guest is markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bareflow_gdb.cli.main import main
from bareflow_gdb.render.markdown import escaped, markdown
from bareflow_gdb.render.view import Cell, Column, Table, View

SAMPLE = Path(__file__).parents[2] / "traces" / "swaps-10-20-30"
EVIL = "a|b `x` <img src=x> [l](javascript:x) *b* _i_ # h @team $m$ \x1b[2J\nnext"


def test_a_view_is_headings_tables_and_lists() -> None:
    table = Table((Column("name"), Column("bytes", right=True)), ((Cell("sum"), Cell("1,024")),), "Code")
    view = View(
        "Status", (("stage", Cell("idle")),), (table, Table((Column("x"),), (), "Swaps", "no swap yet")), ("bad",)
    )
    assert markdown(view) == (
        "## Status\n\n|  |  |\n| --- | --- |\n| stage | idle |\n\n"
        "### Code\n\n| name | bytes |\n| --- | --: |\n| sum | 1,024 |\n\n"
        "### Swaps\n\nno swap yet\n\n### Problems\n\n- bad\n"
    )


def test_what_a_guest_named_is_text() -> None:
    made = escaped(EVIL)
    assert not re.search(r"(?<!\\)[|`*_\[\]()#@$]", made)
    assert "<" not in made and "\x1b" not in made and "\n" not in made
    assert made.startswith(r"a\|b \`x\` &lt;img src=x&gt; \[l\]\(javascript:x\)")


def test_a_report_is_written_as_markdown_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "summary.md"
    assert main(["report", str(SAMPLE), "--out", str(tmp_path / "report.html"), "--markdown", str(out)]) == 0
    text = out.read_text()
    assert text.startswith("## BareFlow trace of sample: kernel ")
    assert "| ✅ ok | 0 of 1,984 events lost |" in text
    assert re.search(r"\| \\\+483\.596 ms \| primes \| O2 \\-&gt; O3 \| 30 \| threshold \|", text)
    assert capsys.readouterr().err == ""
