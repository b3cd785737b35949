"""Records as JSON, tables and pictures: the same names everywhere, nothing that harms a terminal."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

import pytest
from asking import record_of, text_of
from fake_guest import FakeGuest

from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.code.jit import Jit
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.pools.pools import Pool
from bareflow_gdb.questions import registry
from bareflow_gdb.render.jsonable import dumps, to_json
from bareflow_gdb.render.pool_map import pool_map
from bareflow_gdb.render.text import coloured, fit, plain, wants_colour
from bareflow_gdb.render.view import Cell, View, table

ANSWERED = [name for name in registry.plain() if name not in ("cache", "stack", "screen")]
"""The fake guest has no cache, no registers and no screen."""


@pytest.fixture(scope="module")
def guest() -> Guest:
    return Guest.attach(FakeGuest().build())


@dataclass(frozen=True)
class Sample:
    at: Address
    maybe: Address | None
    many: tuple[Address, ...]
    crc: Word
    cycles: int
    name: str
    ratio: float | None
    flag: bool


def test_addresses_and_patterns_are_hexadecimal_by_their_type_and_numbers_stay_numbers() -> None:
    sample = Sample(Address(0x10), None, (Address(1), Address(2)), Word(0xFF), 16, "x", 1.5, True)
    assert to_json(sample) == {
        "at": "0x00000010",
        "maybe": None,
        "many": ["0x00000001", "0x00000002"],
        "crc": "0x000000ff",
        "cycles": 16,
        "name": "x",
        "ratio": 1.5,
        "flag": True,
    }


@pytest.mark.parametrize("question", ANSWERED)
def test_every_record_survives_a_round_trip_through_json(guest: Guest, question: str) -> None:
    record = record_of(guest, question)
    assert json.loads(dumps(record)) == to_json(record)


def test_nested_records_keep_the_types_of_their_fields(guest: Guest) -> None:
    block = to_json(guest.kernel().pools())["pools"][0]["blocks"][0]
    assert (block["address"], block["size"], block["owner_name"]) == ("0x00200010", 240, "alpha@O0 #1")
    assert to_json(guest.kernel().jit())["functions"][0]["level_codes"][1] == "0x00200210"
    assert to_json(guest.kernel().exception())["registers"]["eip"] == "0x00000000"


@pytest.mark.parametrize("question", ANSWERED)
def test_plain_tables_have_no_escape_sequences_and_no_trailing_blanks(guest: Guest, question: str) -> None:
    text = text_of(question, record_of(guest, question))
    assert "\x1b" not in text
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    assert text


@pytest.mark.parametrize("question", ANSWERED)
def test_coloured_tables_say_the_same_words_as_plain_ones(guest: Guest, question: str) -> None:
    record = record_of(guest, question)
    colour = re.sub(r"\x1b\[[0-9;]*m", "", text_of(question, record, 200, True))
    assert colour.split() == text_of(question, record).split()


def test_columns_line_up_and_numbers_are_right_aligned() -> None:
    view = View("T", parts=(table("name|>count", [("a", 5), ("longer", 12345)]),))
    assert plain(view).splitlines() == ["T", "  name     count", "  a            5", "  longer  12,345"]


def test_a_narrow_terminal_loses_spare_columns_from_the_right_and_nothing_else() -> None:
    rows = [("alpha", 1, "0x00200000", "embedded")]
    wide = table("function|>calls|~code|~source", rows)
    assert [column.name for column in fit(wide, 100).columns] == ["function", "calls", "code", "source"]
    assert [column.name for column in fit(wide, 31).columns] == ["function", "calls", "code"]
    assert [column.name for column in fit(wide, 5).columns] == ["function", "calls"]
    assert "0x00200000" not in coloured(View("", parts=(wide,)), 20)


def test_markup_in_a_guests_text_is_not_interpreted() -> None:
    view = View("", parts=(table("name", [("[red]x[/red]",)]),))
    assert "[red]x[/red]" in coloured(view)


def test_a_problem_is_shown_in_both_forms() -> None:
    view = View("T", (("fact", Cell("x", "bad")),), problems=("it is broken",))
    assert "problem: it is broken" in plain(view)
    assert "it is broken" in coloured(view)


class Terminal:
    def isatty(self) -> bool:
        return True


def test_no_color_and_dumb_terminals_get_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_colour(terminal)  # type: ignore[arg-type]
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(terminal)  # type: ignore[arg-type]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(terminal)  # type: ignore[arg-type]


def code_pool(guest: Guest) -> Pool:
    return guest.kernel().pools("code").pools[0]


def test_the_picture_zooms_into_what_is_used(guest: Guest) -> None:
    strip, owners, *legend = pool_map(code_pool(guest), 32).splitlines()
    assert strip == "|" + "█" * 20 + "·" * 12 + "|"
    assert owners == "|" + "AAAABBBBAAAACCCCDDDD" + " " * 12 + "|"
    assert legend[0].strip() == "A alpha: 2 blocks, 480 bytes"
    assert "the first 2,048 of 262,144 bytes" in legend[-1]


def test_a_hole_in_the_pool_is_seen() -> None:
    fake = FakeGuest()
    fake.blocks[1] |= {"state": 1, "owner_kind": 0}
    strip = pool_map(code_pool(Guest.attach(fake.build())), 32).splitlines()[0]
    assert strip == "|" + "█" * 4 + "·" * 4 + "█" * 12 + "·" * 12 + "|"


def test_a_pool_without_blocks_has_no_picture(guest: Guest) -> None:
    assert pool_map(replace(code_pool(guest), blocks=())) == ""


def test_absurd_blocks_do_not_break_the_picture(guest: Guest) -> None:
    pool = code_pool(guest)
    wild = tuple(replace(block, size=0xFFFFFFF0, address=Address(0x10)) for block in pool.blocks)
    assert pool_map(replace(pool, blocks=wild)).startswith("|")


def test_a_swap_that_was_held_up_is_told_in_milliseconds_and_words_of_the_contract_as_words(guest: Guest) -> None:
    swaps = record_of(guest, "swaps", all=True)
    late = replace(swaps.swaps[0], publish_to_first_us=9_962_797.0, reason="host_asked")
    shown = text_of("swaps", replace(swaps, swaps=(late,)), width=300)
    assert "publish to first call ms" in shown and " 9,962.797" in shown
    assert "host asked" in shown
    jit = record_of(guest, "jit", all=True)
    made = replace(jit.functions[0], mail_state="need_more", versions=(late_version(jit),))
    shown = text_of("jit", replace(jit, functions=(made,)), width=300)
    assert "need more" in shown and "micro jit" in shown and "_" not in shown


def late_version(jit: Jit) -> Version:
    return replace(jit.functions[0].versions[0], provider="micro_jit")


def test_the_digests_of_modules_are_told_where_reading_is_free(guest: Guest) -> None:
    modules = record_of(guest, "modules", check=False)
    assert {module.digest for module in modules.modules} == {"right"}
    memory = FakeGuest().build()
    memory.packet_bytes = 2000
    modules = record_of(Guest.attach(memory), "modules", check=False)
    assert {module.digest for module in modules.modules} == {"not checked"}
    assert "`modules --check`" in text_of("modules", modules)
