"""Text becomes tokens as the model was trained, and tokens become the text again."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st

from bareflow_gdb.errors import UsageError
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.model.packing import pack, read_source
from bareflow_gdb.model.pieces import pieces
from bareflow_gdb.model.vocabulary import NORMAL, Merge, Vocabulary

CUTS = [
    ("Hello world", ["Hello", " world"]),
    ("it's we'll I'd x'S", ["it", "'s", " we", "'ll", " I", "'d", " x", "'", "S"]),
    ("a  b", ["a", " ", " b"]),
    ("a \n b\n", ["a", " \n", " b", "\n"]),
    ("end   ", ["end", "   "]),
    ("a\tb", ["a", "\t", "b"]),
    ("x=1, y!?", ["x", "=", "1", ",", " y", "!?"]),
    ("caf\u00e9 \u4f60\u597d", ["caf\u00e9", " \u4f60\u597d"]),
    ("\u00a0x", ["\u00a0", "x"]),
    ("a\x1cb", ["a", "\x1c", "b"]),
    (" '", [" '"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "wanted"), CUTS)
def test_text_is_cut_as_gpt2_cuts_it(text: str, wanted: list[str]) -> None:
    assert list(pieces(text, digits=False)) == wanted
    assert list(pieces(text, digits=True)) == wanted


def test_digits_stay_together_or_stand_alone() -> None:
    assert list(pieces("in 1984 \u00b2", digits=False)) == ["in", " 1984", " \u00b2"]
    assert list(pieces("in 1984 \u00b2", digits=True)) == ["in", " ", "1", "9", "8", "4", " ", "\u00b2"]


@given(st.text())
def test_no_character_is_lost_between_pieces(text: str) -> None:
    for digits in (False, True):
        assert "".join(pieces(text, digits=digits)) == text


@pytest.fixture
def words(tmp_path: Path) -> Vocabulary:
    """The tiny model's, from its packed file."""
    tiny_models.write_gguf(tmp_path / "m.gguf")
    pack(read_source(tmp_path / "m.gguf"), tmp_path / "m.bfm")
    found = PackedFile.open(tmp_path / "m.bfm").vocabulary
    assert found is not None
    return found


def byte(character: str) -> int:
    """The tiny model's token of one byte."""
    return 3 + ord(character)


def test_the_packed_file_has_the_tokens_of_the_gguf(tmp_path: Path, words: Vocabulary) -> None:
    source = read_source(tmp_path / "m.gguf").vocabulary
    assert source is not None
    assert (words.texts, words.types, words.pieces) == (source.texts, source.types, "DIGITS")
    assert (words.bos, words.eos, words.add_bos) == (1, 2, False)
    assert set(words.merges) == set(source.merges)
    assert [words.texts[merge.joined] for merge in words.merges] == [b"th", b"the", b" the", b"er", b"12"]


def test_pairs_are_merged_in_the_order_of_their_ranks(words: Vocabulary) -> None:
    th, the, _the, er, _ = range(259, 264)
    assert words.encode("the") == [the]
    assert words.encode("tha the") == [th, byte("a"), _the]
    # "th" and "e" go before "e" and "r".
    assert words.encode("there") == [the, byte("r"), byte("e")]
    assert words.encode("xer") == [byte("x"), er]
    # Digits are cut out before anything is merged.
    assert words.encode("12") == [byte("1"), byte("2")]


def test_special_tokens_stand_for_themselves(words: Vocabulary) -> None:
    assert words.encode("<|im_start|>the<|im_end|><whole>") == [1, 260, 2, 264]
    assert 1 not in words.encode("<|im_start|>", whole=False)
    assert words.decode([1, 260, 2, 264]) == "the<whole>"


def test_equal_pairs_are_merged_from_the_left() -> None:
    made = Vocabulary((b"a", b"aa"), bytes([NORMAL, NORMAL]), (Merge(0, 0, 1),), "GPT2")
    assert made.encode("aaaaa") == [1, 1, 0]


@given(st.text())
def test_every_text_comes_back(text: str) -> None:
    made = Vocabulary(
        (*(bytes([b]) for b in range(256)), b"\xc3\xa9"), bytes([1] * 257), (Merge(195, 169, 256),), "GPT2"
    )
    assert made.decode_bytes(made.encode(text)) == text.encode("utf-8", "replace")


def test_what_a_terminal_obeys_is_not_decoded() -> None:
    made = Vocabulary((b"\x1b", b"\xff", b"\n"), bytes([1] * 3), (), "GPT2")
    assert made.decode([0, 1, 2]) == "?\ufffd\n"


def test_a_text_begins_with_its_first_token_where_the_model_wants_it() -> None:
    made = Vocabulary((b"<s>", b"a"), bytes([2, 1]), (), "GPT2", bos=0, add_bos=True)
    assert made.encode("a") == [0, 1]


def test_chatml_gives_the_tokens_around_what_a_person_says(tmp_path: Path, words: Vocabulary) -> None:
    before, after = PackedFile.open(tmp_path / "m.bfm").chat() or ([], [])
    assert words.texts[before[0]] == b"<|im_start|>"
    assert words.decode(before) == "system\nYou are a the\nuser\n"
    assert words.decode(after) == "\nassistant\n"
    assert [token for token in before + after if token in (1, 2)] == [1, 2, 1, 2, 1]


def test_another_template_makes_no_chat_model(tmp_path: Path) -> None:
    tiny_models.write_gguf(tmp_path / "x.gguf", keys={"tokenizer.chat_template": "[INST] {{ x }}"})
    pack(read_source(tmp_path / "x.gguf"), tmp_path / "x.bfm")
    assert PackedFile.open(tmp_path / "x.bfm").chat() is None


def test_what_has_no_token_is_said() -> None:
    made = Vocabulary((b"a",), bytes([1]), (), "GPT2")
    with pytest.raises(UsageError, match="no token for the byte 0x62"):
        made.encode("ab")
    with pytest.raises(UsageError, match="token 1 is not one of 1"):
        made.decode([1])
