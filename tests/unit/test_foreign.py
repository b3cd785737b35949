"""The gate for text from outside: what comes out of it is harmless where it goes, and what was harmless stays."""

from __future__ import annotations

import pytest
from hostile_names import CALLS, HARMFUL, HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from bareflow_gdb import foreign
from bareflow_gdb.errors import BareflowError, ReadError

EVERYWHERE = st.text(st.characters() | st.sampled_from("\x1b\x9b\n\r\t\u202e\u2028\udc9b"))


@given(EVERYWHERE)
def test_nothing_that_a_terminal_obeys_passes(text: str) -> None:
    assert foreign.printable(text).isprintable()
    assert foreign.sentence(text).isprintable()
    assert not HARMFUL.search(foreign.lines(text))
    assert not HARMFUL.search(foreign.styled(text).replace("\x1b[", ""))


def test_what_is_harmless_stays() -> None:
    for text in ("primes@O2 #3", "größer.c", "日本語"):
        assert foreign.printable(text) == foreign.lines(text) == foreign.sentence(text) == text
    assert foreign.lines("a\n\tb") == "a\n\tb"
    assert foreign.styled("\x1b[1;31mred\x1b[0m\x1b]0;x\x07") == "\x1b[1;31mred\x1b[0m?]0;x?"


def test_a_string_without_its_end_hides_nothing_of_a_log() -> None:
    assert foreign.console_of(b"a\x1b]0;b\nc\x1bPd\n" + b"e" * 9000) == "a0;b\ncd\n" + "e" * 9000
    # An escape before what is no sequence stays visible.
    assert foreign.console_of(b"a\x1b\x07b \xe9\x9b\x9bc") == "a??b ???c"


@pytest.mark.parametrize("kind", [BareflowError, lambda text: ReadError(0, 4, text, text)])
def test_an_error_is_one_harmless_line_whatever_it_tells_of(kind: type[BareflowError]) -> None:
    said = str(kind("only x\x1b[31mRED\x1b]0;title\x07\nbareflow: fine"))
    assert said.isprintable() and "bareflow: fine" in said


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_does_not_come_back_as_it_is_is_not_completed(name: bytes) -> None:
    assert not foreign.is_plain(foreign.clean(name)) or name in (b"/tmp/INJ9", b"../../INJ10", b"nodir/x")


@pytest.mark.parametrize("name", ["primes", "_ZN3fooEv", "TEST.TXT", "LONGNA~1.BC", "1.TXT", "a-b", "lib/x.o", "c++"])
def test_usual_names_are_completed(name: str) -> None:
    assert foreign.is_plain(name)


@pytest.mark.parametrize("name", CALLS)
def test_a_symbol_cannot_be_a_call(name: bytes) -> None:
    assert not set("()\"'`|;\n \\%") & set(foreign.gdb_name(name.decode()))
    assert foreign.gdb_name("primes@O2") == "primes@O2" and foreign.gdb_name("a$LT$b") == "a$LT$b"


@given(EVERYWHERE)
def test_a_word_of_gdb_is_one_line(text: str) -> None:
    assert foreign.gdb_word(text).isprintable()
