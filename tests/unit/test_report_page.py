"""The report page: self-contained, no guest string can become markup, its numbers are those of the trace."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest
from asking import text_of
from page_reader import Reader
from trace_maker import SERIAL, SWAP, batch, make

from bareflow_gdb.analysis.clock import Clock
from bareflow_gdb.analysis.comparisons import Comparison
from bareflow_gdb.analysis.digest import Digest, tell, verdicts
from bareflow_gdb.analysis.evidence import of_trace
from bareflow_gdb.cli import main as cli
from bareflow_gdb.guest.code.code_diff import Instruction, Row
from bareflow_gdb.render.report.activity import DATA, script
from bareflow_gdb.render.report.markup import Markup, escape, tag
from bareflow_gdb.render.report.page import page
from bareflow_gdb.render.report.summary import summary
from bareflow_gdb.render.view import milliseconds
from bareflow_gdb.tracing.store import Trace

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[2J\x07"


@pytest.fixture
def digest(tmp_path: Path) -> Digest:
    return tell(of_trace(Trace.open(make(tmp_path / "trace", [batch(SWAP)]))))


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(digest: Digest) -> None:
    text = page(digest)
    reader = Reader(text)
    assert reader.tags.count("script") == 2, "one has data, one draws it"
    assert not {"link", "img", "iframe", "object", "base", "form"} & set(reader.tags)
    for name, value in reader.attributes:
        assert name not in ("src", "style", "srcset", "action") and not name.startswith("on"), (name, value)
        assert name != "href" or value.startswith("#")
    assert "url(" not in text and "@import" not in text and "http://" not in text and "https://" not in text


def test_the_policy_allows_this_style_sheet_and_this_script_and_nothing_else(digest: Digest) -> None:
    text = page(digest)
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    drawn = re.search(r"<script>(.*)</script>", text, re.DOTALL)
    assert style is not None and drawn is not None and drawn[1] == script()
    own, drawing = (base64.b64encode(hashlib.sha256(one[1].encode()).digest()).decode() for one in (style, drawn))
    policies = [value for name, value in Reader(text).attributes if name == "content" and "default-src" in value]
    allowed = f"style-src 'sha256-{own}'; script-src 'sha256-{drawing}'"
    assert policies == [f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"]
    still = page(dataclasses.replace(digest, activity=None))
    reader = Reader(still)
    assert "script" not in reader.tags
    assert any("script-src 'none'" in value for _, value in reader.attributes)


def test_no_string_of_the_guest_becomes_markup(tmp_path: Path) -> None:
    directory = make(
        tmp_path / "trace",
        [batch(SWAP)],
        serial=SERIAL + EVIL,
        functions=(EVIL,),
        modules=(EVIL,),
        machine=EVIL,
        build_id=EVIL,
        variant=EVIL,
        ended=EVIL,
    )
    text = page(tell(of_trace(Trace.open(directory))))
    reader = Reader(text)
    assert reader.tags.count("script") == 2 and "img" not in reader.tags
    data = json.loads(text.split(f'id="{DATA}">')[1].split("</script>")[0])
    assert EVIL.split("\x1b")[0] in data["lanes"][0]["name"]
    assert "\x1b" not in text and "\x07" not in text
    assert reader.text.count("<script>alert(1)</script>") >= 5


def test_every_string_of_the_records_is_escaped_too(digest: Digest) -> None:
    swap = dataclasses.replace(digest.swaps.swaps[0], function=EVIL, reason=EVIL)
    comparison = dataclasses.replace(digest.comparisons[0], swap=swap, missing=EVIL)
    evil = dataclasses.replace(
        digest,
        swaps=dataclasses.replace(digest.swaps, swaps=(swap,)),
        comparisons=(comparison,),
        agreement=dataclasses.replace(digest.agreement, disagreements=(EVIL,)),
        missing=(EVIL,),
    )
    tags = Reader(page(evil)).tags
    assert tags.count("script") == 2 and "img" not in tags


def test_the_numbers_are_those_of_the_trace(digest: Digest) -> None:
    words = Reader(page(digest)).text
    for word in ("0x00200010", "0x00200100", "+0.001 ms", "0 of 7 events lost", "TSC 1,000 MHz", "fibonacci"):
        assert word in words, word
    text = summary(digest)
    for word in ("0x00200100", "fibonacci", "O1", "7 events, 0 lost", "log and ring agree on 1 swap"):
        assert word in text, word


def test_times_are_told_in_the_unit_that_swaps_tells_them_in(digest: Digest) -> None:
    assert digest.swaps is not None
    (swap,) = digest.swaps.swaps
    told = Reader(page(digest)).text, summary(digest), text_of("swaps", digest.swaps, width=200)
    for text in told:
        assert "publish to first call ms" in text and not re.search(r"\b(us|µs|ns)\b", text)
        assert milliseconds(swap.publish_to_first_us).text in text


def test_one_of_a_kind_is_told_as_one(digest: Digest) -> None:
    text = page(digest)
    assert "<b>1</b><span>swap</span>" in text and "<b>1</b><span>function</span>" in text
    assert not re.search(r"<b>1</b><span>\w+s\b", text)


def test_what_is_wrong_comes_first(tmp_path: Path) -> None:
    directory = make(
        tmp_path / "trace", [batch(SWAP), batch(SWAP, 20, lost=13)], serial="nothing", complete=False, open_journal=True
    )
    digest = tell(of_trace(Trace.open(directory)))
    bad = [verdict.text for verdict in verdicts(digest) if verdict.kind == "bad"]
    assert bad[0] == "13 of 27 events lost"
    assert "killed" in bad[1]
    assert "disagree" in bad[2]
    assert page(digest).index("13 of 27 events lost") < page(digest).index("<section>")


def test_instructions_are_not_shown_as_time(tmp_path: Path) -> None:
    digest = tell(of_trace(Trace.open(make(tmp_path / "trace", [batch(SWAP)], clock="icount"))))
    words = Reader(page(digest)).text
    assert "1,600 instructions" in words and "exact, equal between runs" in words


def test_the_command_writes_page_and_text_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)])
    out, text = tmp_path / "report.html", tmp_path / "summary.txt"
    assert cli.main(["report", str(directory), "--out", str(out), "--text", str(text)]) == 0
    assert out.read_text().startswith("<!doctype html>")
    assert text.read_text() in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    (directory / "serial.log").write_text("")
    assert cli.main(["report", str(directory), "--out", str(out), "--json"]) == 1
    assert '"kind": "bad"' in capsys.readouterr().out


def test_a_report_that_cannot_be_made_leaves_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = make(tmp_path / "trace", [batch(SWAP)])
    (directory / "events-000.parquet").write_bytes(b"PAR1 not")
    out = tmp_path / "report.html"
    assert cli.main(["report", str(directory), "--out", str(out)]) == 2
    assert not out.exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_markup_escapes_all_but_markup() -> None:
    assert tag("b", "<", Markup("<i/>"), ["&", 3, None], class_='"x"') == (
        '<b class="&quot;x&quot;">&lt;<i/>&amp;3</b>'
    )
    assert escape("a\x00b\u202ec") == "a?b?c"


def test_one_zero_for_timeline_table_and_boot_and_round_marks(digest: Digest) -> None:
    clock = Clock(1_000_000, zero=5_000_000, since="stage 1", last=6_290_000)
    assert clock.moment(6_286_413) == "+1,286.413 ms"
    marks = clock.round_moments(6_200_000, 6_290_000)
    assert [words for _, words in marks] == ["1,200 ms", "1,220 ms", "1,240 ms", "1,260 ms", "1,280 ms"]
    assert [tsc for tsc, _ in marks] == [6_200_000, 6_220_000, 6_240_000, 6_260_000, 6_280_000]
    # Swaps of the made trace are 1.4 us after its first event: so says the table, and so does the mark in its lane.
    text = page(digest)
    assert text.count("+0.001 ms") == 2
    assert "Times count from the first event." in Reader(text).text


@pytest.mark.parametrize(
    ("clock", "words"),
    [
        (Clock(0, zero=0, last=7_000), ["0 cycles", "2,000 cycles", "4,000 cycles", "6,000 cycles"]),
        (Clock(9, True, last=7), [f"{n} instructions" for n in (0, 2, 4, 6)]),
        (Clock(2_000_000_000, last=1_400), ["0.0000 ms", "0.0002 ms", "0.0004 ms", "0.0006 ms"]),
        (Clock(1, last=0), ["0 ms"]),
    ],
)
def test_marks_of_an_axis_are_round_in_every_unit(clock: Clock, words: list[str]) -> None:
    assert [told for _, told in clock.round_moments(0, clock.last)] == words


def test_a_good_recording_is_not_called_interrupted(tmp_path: Path) -> None:
    for ended in ("idle", "interrupted", "time"):
        made = tell(of_trace(Trace.open(make(tmp_path / ended, [batch(SWAP)], ended=ended))))
        words = Reader(page(made)).text
        assert "recorded until" in words or "as long as was asked" in words
        assert "ended: interrupted" not in words + summary(made)


def test_a_line_without_an_instruction_has_no_colour(digest: Digest) -> None:
    push = Instruction(0, b"\x55", "push ebp")
    rows = (Row(push, None), Row(None, Instruction(1, b"\xc3", "ret")))
    swap = digest.swaps.swaps[0] if digest.swaps else None
    assert swap is not None
    made = dataclasses.replace(digest, comparisons=(Comparison(swap, 2500, 1423, False, rows, ""),))
    text = page(made)
    assert "2,500 → 1,423 bytes" in Reader(text).text
    assert text.count('class="old"') == 1 and text.count('class="new"') == 1
    assert 'class="old"></td>' not in text and 'class="new"></td>' not in text


def test_a_refusal_in_the_log_is_the_first_thing_that_is_said_also_without_memory(tmp_path: Path) -> None:
    refused = "[CACHE] COMPUTE.O1 refused: its SHA-256 does not match\n"
    made = tell(of_trace(Trace.open(make(tmp_path / "trace", [batch(SWAP)], serial=SERIAL + refused))))
    found = verdicts(made)
    assert found[0].kind == "bad" and "COMPUTE.O1" in found[0].text
    assert "found nothing wrong" not in "".join(verdict.text for verdict in found)
    words = Reader(page(made)).text
    assert words.index("COMPUTE.O1") < words.index("Swaps")
